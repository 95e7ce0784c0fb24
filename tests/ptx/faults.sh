#!/usr/bin/env bash
# Plants faults in the PTX of real kernels, and expects each to be reported: a barrier that is missing, a
# copy that is not waited for, operands in wrong lanes, reads out of bounds, more shared memory than a GPU
# has. The same tests without the fault must pass, or the report would prove nothing. Then it counts what one kernel
# asks of memory.
# Usage: tests/ptx/faults.sh BUILD    BUILD: where tests/run.sh ptx has built ptx_kernels
set -euo pipefail

program=$1/tests/ptx/ptx_kernels
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/whole" "$folder/broken"
PTX_DUMP=$folder/whole "$program" --gtest_filter='MmaDevice.LoadsTheDocumentedElements' >"$folder/log" 2>&1 ||
  { cat "$folder/log"; exit 1; }

export PTX_DEVICE=stand-in
failed=0 planted=0
declare -A is_sound  # by filter: the tests pass without a fault
say() {
  echo "faults: $1"
  failed=1
}

# run FILTER [NAME=VALUE...]: true where the tests pass and the interpreter found no fault.
run() {
  local filter=$1 status=0
  shift
  env "$@" "$program" --gtest_filter="$filter" >"$folder/log" 2>&1 || status=$?
  if ! grep -q '^\[ RUN ' "$folder/log"; then say "no test is named $filter"; fi
  return "$status"
}

# expect FAULT FILTER REPORT [NAME=VALUE...]: the tests fail, and the log has a line like REPORT.
expect() {
  local fault=$1 filter=$2 report=$3 line
  shift 3
  planted=$((planted + 1))
  if [ -z "${is_sound[$filter]:-}" ] && run "$filter"; then is_sound[$filter]=1; fi
  if [ -z "${is_sound[$filter]:-}" ]; then
    say "$fault: $filter fails without it"
  elif run "$filter" "$@"; then
    say "$fault: NOT REPORTED by $filter"
  elif line=$(grep -m 1 -E "$report" "$folder/log"); then
    echo "faults: $fault: ${line:0:150}"
  else
    say "$fault: reported otherwise"
    tail -n 20 "$folder/log"
  fi
}

# plant FAULT MODULE EDIT FILTER REPORT: EDIT is Perl that changes the module's text in $_.
plant() {
  local fault=$1 module=$2 edit=$3
  rm -f "$folder/broken"/*
  perl -0777 -pe "$edit" "$folder/whole/$module.ptx" >"$folder/broken/$module.ptx"
  if cmp -s "$folder/whole/$module.ptx" "$folder/broken/$module.ptx"; then
    say "$fault: the edit of $module.ptx changes nothing"
    return
  fi
  expect "$fault" "$4" "$5" PTX_REPLACE="$folder/broken"
}

tiles='PointwiseConvDevice.EveryTileIsExactOnWholeNumbers'
a_number='%r[0-9]+'

plant "the first barrier of every product removed" pointwise_float \
  '$_ = join ".entry", map { s/bar\.sync[^;]*;//r } split /\.entry/' \
  "$tiles" 'FAULT: race: '
# Before the first nothing is shared yet; the second stands between writes and reads.
plant "the second barrier of every batch norm removed" batch_norm \
  '$_ = join ".entry", map { s/(bar\.sync.*?)bar\.sync[^;]*;/$1/sr } split /\.entry/' \
  'BatchNorm/DeviceHalf.EqualsDouble' 'FAULT: race: '
plant "wait_group lets one group more be under way" pointwise_float \
  's/(cp\.async\.wait_group\s+)(\d+)/$1 . ($2 + 1)/ge' \
  "$tiles" 'FAULT: read of a copy not waited for'
plant "copies are never waited for" pointwise_float \
  's/cp\.async\.wait_group[^;]*;//g' \
  "$tiles" 'FAULT: read of a copy not waited for'
plant "two registers of the left factor exchanged in mma" pointwise_float \
  "s/(mma\\.sync[^{]*\\{[^}]*\\},\\s*)\\{($a_number),\\s*($a_number),/\$1\\{\$3, \$2,/g" \
  "$tiles" '^\[  FAILED  \]'
plant "two registers of the right factor exchanged in mma" pointwise_float \
  "s/(mma\\.sync[^{]*\\{[^}]*\\},\\s*\\{[^}]*\\},\\s*)\\{($a_number),\\s*($a_number)\\}/\$1\\{\$3, \$2\\}/g" \
  "$tiles" '^\[  FAILED  \]'
plant "ldmatrix without .trans" pointwise_float \
  's/x4\.trans/x4/g' \
  'PointwiseConvDevice.EveryWeightTileIsExactOnWholeNumbers' '^\[  FAILED  \]'
plant "mma by half a warp" mma_probe \
  's/(mma\.sync)/.reg .pred half; setp.lt.u32 half, %tid.x, 16; \@half $1/g' \
  'MmaDevice.MultipliesTheDocumentedFragments' 'FAULT: by part of a warp'
plant "a barrier for half the warps only" batch_norm \
  's/(bar\.sync)/.reg .pred half; setp.lt.u32 half, %tid.x, 48; \@half $1/g' \
  'BatchNorm/DeviceHalf.EqualsDouble' 'FAULT: (barrier reached by part of a warp|race|warps wait)'
plant "a kernel that does not wait for those before it" residual_add \
  's/griddepcontrol\.wait[^;]*;//g' \
  'ResidualAdd/DeviceHalf.*' 'FAULT: write before griddepcontrol.wait'
plant "a read far behind an array" residual_add \
  's/(ld\.global[^;]*\[%rd\d+)[^\]]*\]/$1+1073741824]/g' \
  'ResidualAdd/DeviceHalf.*' 'FAULT: read out of bounds of device memory'
plant "a copy from far behind an array" pointwise_float \
  's/(cp\.async\.c[ag]\S*\s+\[[^\]]*\],\s*)\[(%rd\d+)\]/.reg .b64 far; add.s64 far, $2, 1073741824; $1\[far]/g' \
  "$tiles" 'FAULT: read out of bounds of device memory'
plant "a write behind shared memory" batch_norm \
  's/(st\.shared\S*\s+\[%r\d+)(?:\+\d+)?\]/$1+1048576]/g' \
  'BatchNorm/DeviceHalf.EqualsDouble' 'FAULT: write out of bounds of shared memory'
plant "a vector that begins in the middle of a value" residual_add \
  's/(ld\.global\S*v4[^;]*\[%rd\d+)[^\]]*\]/$1+2]/g' \
  'ResidualAdd/DeviceHalf.*' 'FAULT: misaligned'
warpgroups='PointwiseConvDevice.EveryWarpgroupTileIsExactOnWholeNumbers'
plant "factors are not published to the tensor cores" pointwise_warpgroup \
  's/fence\.proxy\.async[^;]*;//g' \
  "$warpgroups" 'FAULT: wgmma reads what no fence.proxy.async has published'
plant "products are not waited for" pointwise_warpgroup \
  's/wgmma\.wait_group[^;]*;//g' \
  "$warpgroups" 'FAULT: the kernel ends before its products'
plant "a factor is not swizzled" pointwise_warpgroup \
  's/(wgmma\.mma_async[^;]*\}, )(%rd\d+)/.reg .b64 plain; and.b64 plain, $2, 4611686018427387903; $1plain/g' \
  "$warpgroups" 'FAULT: wgmma: a factor that is not swizzled'
clusters='InvertedResidualDevice/0.AddsInAClusterInTheOrderOfTheSecondKernel'
plant "blocks of a cluster do not wait for each other's sums" inverted_residual \
  '$_ = join ".entry", map { s/barrier\.cluster\.arrive[^;]*;\s*barrier\.cluster\.wait[^;]*;//r } split /\.entry/' \
  "$clusters" 'FAULT: race: read of what another block wrote'
plant "a cluster's barrier orders no memory" inverted_residual \
  's/barrier\.cluster\.arrive\.release/barrier.cluster.arrive.relaxed/g' \
  "$clusters" 'FAULT: race: read of what another block wrote'
plant "blocks of a cluster end while others read" inverted_residual \
  '$_ = join ".entry", map { s/(barrier\.cluster\.wait[^;]*;.*?)barrier\.cluster\.arrive[^;]*;\s*barrier\.cluster\.wait[^;]*;/$1/sr } split /\.entry/' \
  "$clusters" 'FAULT: read of the shared memory of a block that has ended'
# Choices keep to the limit that a device tells, 99 KB on sm_86; this test names its tile itself.
expect "more shared memory than the device has" 'PointwiseConvDevice.WeightGradientAddsThePartsOfTheRows' \
  'FAULT: shared memory: ' PTX_SHARED_LIMIT=51200

# Launches, blocks, products, waves and the fewest there could be, sectors and bytes read and written: by hand, of
# tests/kernels/probes/traffic_probe.h.
run 'TrafficDevice.*' PTX_TRAFFIC="$folder/traffic" || say "TrafficDevice fails"
counted=$(awk '/traffic_kernel/ { print $1, $2, $4, $5, $6, $7, $8, $9, $10 }' "$folder/traffic")
if [ "$counted" = "1 1 0 3 2 8 128 4 128" ]; then
  echo "faults: what a kernel asks of memory is counted as by hand"
else
  say "traffic_kernel: counted $counted"
fi

if [ "$failed" -ne 0 ]; then exit 1; fi
echo "faults: $planted planted, each reported"
