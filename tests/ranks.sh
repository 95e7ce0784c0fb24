#!/usr/bin/env bash
# Training in several processes under mpirun: the same bits on 1, 2, 4 and 8 ranks, killed and resumed
# on another number, a rank that is killed, ranks that differ, a rank that cannot read, a full disk.
# Usage: tests/ranks.sh DFENGINE
# Exit codes: 0 sound, 1 a fault, 77 there is no mpirun or the program was built without MPI.
set -uo pipefail
dfengine=$(realpath "${1:?usage: tests/ranks.sh DFENGINE}")
command -v mpirun >/dev/null || { echo "skip: no mpirun here"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# What MPI itself never gives back.
export ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0
# More ranks than cores, on one machine alone.
mpi=(mpirun --oversubscribe --bind-to none --mca btl self,vader --mca btl_vader_single_copy_mechanism none)
faults=0
fault() {
  echo "ranks: $1"
  if [ -f said ]; then sed 's/^/  | /' said | cat -v | head -n 12; fi
  faults=$((faults + 1))
}
says() { grep -qF -- "$1" said || fault "no word of '$1'"; }
ends() {  # EXIT CODE or "bad", seconds it may take, then the command; what it prints lies in said
  local expected=$1 most=$2 status=0
  shift 2
  if declare -F "$1" >/dev/null; then "$@" >said 2>&1 || status=$?; else timeout "$most" "$@" >said 2>&1 || status=$?; fi
  if [ "$status" -eq 124 ] || { [ "$expected" = bad ] && [ "$status" -eq 0 ]; } ||
    { [ "$expected" != bad ] && [ "$status" -ne "$expected" ]; }; then
    fault "exit code $status instead of $expected: $*"
  fi
}
# All that two runs must agree in: models, logits, and figures without the times of the last two columns.
same() {
  for file in best.safetensors predictions_valid.safetensors; do
    cmp -s "$1/$file" "$2/$file" || fault "$file of $1 and $2 differ"
  done
  cmp -s <(cut -d, -f1-9 "$1/results.csv") <(cut -d, -f1-9 "$2/results.csv") ||
    fault "results.csv of $1 and $2 differ"
}

"$dfengine" synth --output set --count 80 --size 96 --seed 1 >/dev/null
how=(train --width 0.35 --img-size 96 --batch-size 16 --threads 1 --no-progress --seed 1 --epochs 3)
on_set=("${how[@]}" --data set)
ends 0 120 "${mpi[@]}" -n 2 "$dfengine" "${on_set[@]}" --output two
if grep -qF "was made without MPI" said; then
  echo "skip: this build has no MPI"
  exit 77
fi

# ---- The same bits ------------------------------------------------------------------------------
ends 0 120 "$dfengine" "${on_set[@]}" --slices 8 --output one
ends 0 240 "${mpi[@]}" -n 4 "$dfengine" "${on_set[@]}" --output four
ends 0 240 "${mpi[@]}" -n 8 "$dfengine" "${on_set[@]}" --output eight
ends 0 120 "$dfengine" "${on_set[@]}" --slices 8 --grad-checkpoint --output checkpointed
same one two
same one four
same one eight
# Its model names the option.
cmp -s one/predictions_valid.safetensors checkpointed/predictions_valid.safetensors ||
  fault "--grad-checkpoint changes the bits"

# ---- A slice a rank: as many slices give the same, and it says what it gives up -----------------
ends 0 120 "${mpi[@]}" -n 2 "$dfengine" "${on_set[@]}" --fast-reduce --output fast
says "--fast-reduce: 2 processes"
ends 0 120 "$dfengine" "${on_set[@]}" --slices 2 --output halves
cmp -s fast/predictions_valid.safetensors halves/predictions_valid.safetensors || fault "--fast-reduce is not --slices 2"
ends 0 120 "$dfengine" train --resume --output fast --epochs 4 --threads 1 --no-progress
says "--fast-reduce: one process"
ends 2 10 "$dfengine" "${on_set[@]}" --fast-reduce --slices 2 --output never
says "--fast-reduce must be without --slices"

# ---- As torchrun starts them ------------------------------------------------------------------------
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])' 2>/dev/null || echo 29511)
as_torchrun() {  # RANK, ARGUMENT...
  local rank=$1
  shift
  env RANK="$rank" WORLD_SIZE=2 LOCAL_RANK="$rank" MASTER_ADDR=127.0.0.1 MASTER_PORT="$port" \
    timeout 120 "$dfengine" "${on_set[@]}" "$@"
}
as_torchrun_small() { (ulimit -f 300; as_torchrun "$@"); }
as_torchrun 1 --output torch >/dev/null &
ends 0 120 as_torchrun 0 --output torch
wait
same one torch
as_torchrun 1 --lr 0.5 --output never >other_said 2>&1 &
ends bad 60 as_torchrun 0 --output never
wait
says "differ in the setting lr"
ends 2 10 env WORLD_SIZE=2 "$dfengine" "${on_set[@]}" --output never

# ---- Killed, and resumed on another number --------------------------------------------------------
kill_rank() {  # RUN, process name pattern: SIGKILL to one rank when the first epoch is written
  local tries=0 victim
  until [ -s "$1/results.csv" ]; do
    sleep 0.05
    tries=$((tries + 1))
    [ "$tries" -lt 1200 ] || return
  done
  # Its command line ends with the run's name; mpirun's begins otherwise.
  victim=$(pgrep -f "^$dfengine train .*--output $1\$" | tail -n 1)
  kill -9 "$victim" 2>/dev/null || true
}
kill_rank killed &
ends bad 120 "${mpi[@]}" -n 4 "$dfengine" "${on_set[@]}" --output killed
wait
says "signal 9 (Killed)"
grep -qE "rank [0-9]+" said || fault "the killed rank is not named"
! pgrep -f "^$dfengine train .*--output killed\$" >/dev/null || fault "a rank lives on"
ends 0 120 "${mpi[@]}" -n 2 "$dfengine" train --resume --output killed --threads 1 --no-progress
same one killed

# ---- Ranks that differ, cannot read or cannot write -----------------------------------------------
"$dfengine" synth --output other --count 80 --size 96 --seed 2 >/dev/null
ends bad 60 "${mpi[@]}" -n 1 "$dfengine" "${on_set[@]}" --output never : -n 1 "$dfengine" "${how[@]}" --data other --output never
says "differ in pictures"
ends bad 60 "${mpi[@]}" -n 1 "$dfengine" "${on_set[@]}" --output never : -n 1 "$dfengine" "${on_set[@]}" --lr 0.5 --output never
says "differ in the setting lr"
[ ! -e never ] || fault "a refused run left its folder"
cp -r set torn
picture=$(find torn/train -name '*.jpg' | sort | head -n 1)
truncate -s 100 "$picture"
ends bad 120 "${mpi[@]}" -n 2 "$dfengine" "${how[@]}" --data torn --on-bad fail --output torn_run
says "$(basename "$picture")"
ends 2 60 "${mpi[@]}" -n 3 "$dfengine" "${on_set[@]}" --output never
says "powers of two"
ends 2 60 env OMPI_COMM_WORLD_SIZE=2 "$dfengine" "${on_set[@]}" --output never
says "MPI knows of 1"
# A limit on the size of files is met as a full disk is; MPI's own shared memory would not bear it.
(as_torchrun 1 --output full >other_said 2>&1; echo $? >other_status) &
ends bad 60 as_torchrun_small 0 --output full
says "full/"
wait
grep -qF "rank 0 of 2 has ended" other_said && [ "$(cat other_status)" -ne 0 ] || fault "rank 1 goes on without rank 0"

if [ "$faults" -gt 0 ]; then
  echo "ranks: $faults faults"
  exit 1
fi
echo "ranks: sound"
