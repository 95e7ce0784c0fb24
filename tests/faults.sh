#!/usr/bin/env bash
# What an unlucky or hostile machine does to the program: devices and links as outputs, two processes at
# once, files that shrink or are damaged, limits of the system, names with commands for the terminal.
# Usage: tests/faults.sh DFENGINE
# Exit codes: 0 sound, 1 a fault, 77 Python is missing. Some cases need root, and say when they are left out.
set -uo pipefail
dfengine=$(realpath "${1:?usage: tests/faults.sh DFENGINE}")
command -v python3 >/dev/null || { echo "skip: no python3 here"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit
faults=0
fault() {
  echo "faults: $1"
  if [ -f said ]; then sed 's/^/  | /' said | cat -v | head -n 8; fi
  faults=$((faults + 1))
}
run() {  # EXIT CODE, then the program's arguments; what it prints lies in said
  local expected=$1 status=0
  shift
  "$dfengine" "$@" >said 2>&1 || status=$?
  [ $status -eq "$expected" ] || fault "exit code $status instead of $expected: dfengine $*"
}
says() { grep -qF -- "$1" said || fault "no word of '$1'"; }
is() { [ "$1" = "$2" ] || fault "$3: '$1' instead of '$2'"; }

how=(--width 0.35 --img-size 96 --batch-size 16 --threads 1 --no-progress --seed 1)
run 0 synth --output set --count 60 --size 96 --seed 1
run 0 train --data set "${how[@]}" --epochs 1 --output run
model=run/best.safetensors
mapfile -t pictures < <(find set/test -name '*.jpg' | sort | head -n 4)

# ---- Outputs keep the kind and mode of what was there -------------------------------------------
if mknod null c 1 3 2>/dev/null; then
  for name in null link_to_null; do
    ln -sf null link_to_null
    run 0 embed --model $model --output $name "${pictures[@]}"
    run 0 bench --json $name --width 0.35 --img-size 96 --batch-sizes 1 --threads 1 --rounds 1
    run 0 augment --data set --preview $name
    is "$(stat -c %F null)" "character special file" "a device after a command wrote to it"
  done
else
  echo "faults: devices LEFT OUT: only root makes them"
fi
mkfifo pipe
timeout 20 cat pipe >through &
run 0 embed --model $model --output pipe "${pictures[@]}"
wait $!
is "$(stat -c %F pipe)" fifo "a pipe after a command wrote to it"
"$dfengine" embed --model $model --output /dev/stdout "${pictures[@]}" >printed
cmp -n "$(stat -c %s through)" printed through || fault "standard output as a file got other bytes than a pipe"
printf old >target
chmod 640 target
ln -s target link
run 0 embed --model $model --output link "${pictures[@]}"
is "$(stat -c '%F %a' link target | tr '\n' ,)" "symbolic link 777,regular file 640," "a link and its target"
cmp -s target through || fault "a link's target has other bytes than a pipe got"
mkdir folder
run 1 embed --model $model --output folder "${pictures[@]}"
says "Is a directory"

# ---- Planted links and leftovers ----------------------------------------------------------------
printf precious >victim
ln -s victim planted.dfpack.part
run 1 pack set planted.dfpack --img-size 96 --threads 1 --no-progress
says "cannot write to a link"
is "$(cat victim)" precious "what a planted link leads to"
for name in args.json results.csv last.ckpt; do touch "run/$name.tmp-0" "run/$name.tmp-4711-0"; done
touch left.onnx.tmp-0
run 0 train --resume --output run --no-progress
run 0 convert $model left.onnx
is "$(find . -name '*.tmp-*' | wc -l)" 0 "leftovers of killed processes after the next start"

# ---- One process a run, one writer a pack -------------------------------------------------------
flock run sleep 60 &
holder=$!
while flock -n run true; do sleep 0.05; done
run 1 train --resume --output run --no-progress
says "another process writes a run"
kill "$(pgrep -P $holder)" $holder 2>/dev/null
wait $holder 2>/dev/null
"$dfengine" train --data set "${how[@]}" --epochs 2 --output both >first 2>&1 &
one=$!
"$dfengine" train --data set "${how[@]}" --epochs 2 --output both >said 2>&1
second=$?
wait $one
is "$(printf '%s\n' $? $second | sort -n | head -n 1)" 0 "the better exit code of two runs in one folder"
grep -qhE "another process writes a run|already holds a run" first said || fault "two runs in one folder, and no word"
touch made.dfpack.part
flock made.dfpack.part sleep 60 &
holder=$!
while flock -n made.dfpack.part true; do sleep 0.05; done
run 1 pack set made.dfpack --img-size 96 --threads 1 --no-progress
says "another process writes it"
kill "$(pgrep -P $holder)" $holder 2>/dev/null
wait $holder 2>/dev/null
run 0 pack set made.dfpack --img-size 96 --threads 1 --no-progress

# ---- Files that shrink, limits, closed pipes ----------------------------------------------------
cp made.dfpack short.dfpack
"$dfengine" train --data short.dfpack "${how[@]}" --epochs 1000 --output shrinks >said 2>&1 &
trainer=$!
until [ -e shrinks/results.csv ] || ! kill -0 $trainer 2>/dev/null; do sleep 0.05; done
truncate -s 50000 short.dfpack
wait $trainer
is $? 3 "exit code of a run whose pack is cut short"
says "cut short"
for command in "convert $model big.onnx" "train --data set ${how[*]} --epochs 1 --output limited"; do
  # shellcheck disable=SC2086
  (ulimit -f 400; "$dfengine" $command) >said 2>&1
  is $? 1 "exit code beyond a limit on files"
  says "File too large"
done
is "$(find . -name '*.tmp-*' | wc -l)" 0 "temporary files beyond a limit on files"
( "$dfengine" predict --model $model --format json "${pictures[@]}"; echo $? >status ) 2>said | true
is "$(cat status)" 1 "exit code of a closed pipe"

# ---- Damage that a digest finds, and names that are commands ------------------------------------
cat >change.py <<'END'
import json, struct, sys
how, source, target = sys.argv[1:4]
data = bytearray(open(source, "rb").read())
start = 8 + struct.unpack("<Q", data[:8])[0]
if how.startswith("bit"):
    data[start + int(how[3:])] ^= 0x40
else:
    header = json.loads(data[8:start])
    changes = json.loads(how)
    header["__metadata__"].update(changes)
    for key in [key for key, value in header["__metadata__"].items() if value is None]:
        del header["__metadata__"][key]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    data = struct.pack("<Q", len(text)) + text + data[start:]
open(target, "wb").write(data)
END
change() { python3 change.py "$1" "$2" "$3"; }
for at in 3 4003 200003; do
  for file in $model run/last.ckpt; do
    change "bit$at" "$file" damaged
    run 4 info damaged
    says "damaged"
  done
done
change '{"temperature": "3"}' $model damaged
run 4 predict --model damaged "${pictures[0]}"
says "digest"
change '{"dfengine_digest": null}' $model old
run 0 predict --model old "${pictures[0]}"
run 0 info old
says "digest: none"
run 0 info $model
says "digest: the content is what was written"
named() { change "{\"dfengine_digest\": null, \"classes\": $1, \"positive_class\": $2}" $model named; }
named '"real,\"fake, drawn\""' '"fake, drawn"'
run 0 predict --model named --threshold 0 --format csv "${pictures[0]}"
says '"fake, drawn",'
named '"real,\"=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\""' '"=HYPERLINK(\"http://x\",\"y\")"'
run 0 predict --model named --threshold 0 --format csv "${pictures[0]}"
says ",\"'=HYPERLINK("
escape='"fa\u001b]0;x\u0007ke"'
for names in "\"real,${escape:1} $escape" '"fake,fake" "fake"' '"real," ""'; do
  named "${names% *}" "${names##* }"
  run 4 predict --model named "${pictures[0]}"
  ! grep -qP '[\x00-\x08\x0b-\x1f\x7f]' said || fault "a control character is printed"
done
escape=$(printf 'e\033]0;pwn\007\033[31m\302\233.jpg')
cp "${pictures[0]}" "$escape"
cp "${pictures[0]}" "=1+1.jpg"
echo no >"$escape.bad.jpg"
for format in table csv json; do
  run 3 predict --model $model --format $format "$escape" "$escape.bad.jpg" "=1+1.jpg"
  ! grep -qP '[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]' said || fault "a control character is printed as $format"
  if [ $format = csv ]; then says ./=1+1.jpg,; fi
done
run 2 predict --model $model "--$escape"
! grep -qP '[\x00-\x08\x0b-\x1f\x7f]' said || fault "a control character is printed in an error"
run 0 train --data "$work/set" "${how[@]}" --epochs 1 --output absolute
! grep -qF "$work" absolute/best.safetensors || fault "a path of this machine is in a model file"

# ---- Unreadable once, dangling, many ------------------------------------------------------------
cp -r set links
ln -s nowhere links/train/real/dangling.jpg
ln -s loop.jpg links/train/real/loop.jpg
run 3 predict --model $model links/train/real
says "2 of"
run 3 pack links links.dfpack --img-size 96 --threads 1 --no-progress
says "2 of 62 pictures could not be read"
rm links/train/real/loop.jpg links/train/real/dangling.jpg
first=$(find links/train/real -name '*.jpg' | sort | head -n 1)
as_user=()
if [ "$(id -u)" = 0 ]; then
  as_user=(setpriv --reuid 65534 --regid 65534 --clear-groups)
  chmod -R a+rwX .
fi
chmod 000 "$first"
"${as_user[@]}" "$dfengine" pack links once.dfpack --img-size 96 --threads 1 --no-progress >said 2>&1
is $? 3 "exit code of a pack with an unreadable picture"
chmod 644 "$first"
run 0 pack links once.dfpack --img-size 96 --threads 1 --no-progress
says "59 of them by an earlier try"
run 0 pack links once.dfpack --img-size 96 --threads 1 --no-progress
says "up to date"
run 0 pack links fresh.dfpack --img-size 96 --threads 1 --no-progress
cmp -s once.dfpack fresh.dfpack || fault "a completed pack is not as one made at once"
# A BMP is decoded whole; the file is sparse.
python3 - <<'END'
import struct
side = 9000
size = side * side * 3
with open("large.bmp", "wb") as f:
    f.write(struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54 + size, 0, 0, 54, 40, side, side, 1, 24, 0, size, 0, 0, 0, 0))
    f.truncate(54 + size)
END
mkdir -p large/train/real large/train/fake
cp large.bmp large/train/real/
cp "${pictures[0]}" large/train/fake/
for command in "predict --model $model --threads 1 large.bmp" "pack large large.dfpack --img-size 96 --threads 1"; do
  # shellcheck disable=SC2086
  (ulimit -v 400000; "$dfengine" $command) >said 2>&1
  is $? 1 "exit code where memory runs out"
  grep -qE 'memory.* [0-9]+ MiB' said || fault "no size where memory runs out"
done
mkdir few many
for ((i = 0; i < 5000; ++i)); do echo x >"few/$i.jpg"; done
for ((i = 0; i < 4; ++i)); do cp -r few "many/$i"; done
seconds_of() { local TIMEFORMAT=%U; { time "$dfengine" predict --model $model --threads 1 "$1" >/dev/null 2>&1; } 2>&1; }
few=$(seconds_of few) many=$(seconds_of many)
python3 -c "import sys; sys.exit($many > 8 * $few + 1)" || fault "20000 bad files take $many s, 5000 $few s"

if [ $faults -gt 0 ]; then exit 1; fi
echo "faults: none"
