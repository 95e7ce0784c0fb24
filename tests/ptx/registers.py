#!/usr/bin/env python3
"""What ptxas makes of every kernel for each GPU: registers, spills, shared memory, blocks per multiprocessor.

Usage: tests/run.sh registers [--renew] [PRESET]
  Compares with registers.txt beside this file and fails where they differ; --renew writes that file.
  A kernel that spills more bytes than the table has fails in any case.
  PRESET (default cpu): where `tests/run.sh ptx` noted the threads and shared memory of each launch.
Compiles all kernels for five architectures, which takes minutes; ccache helps the second time.
"""
import collections
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys

# CUDA C++ Programming Guide, "Technical Specifications per Compute Capability": threads, blocks and KB of
# shared memory per multiprocessor. Each block costs one more KB, and may have all but that one.
ARCHITECTURES = {80: (2048, 32, 164), 86: (1536, 16, 100), 89: (1536, 24, 100), 90: (2048, 32, 228),
                 120: (1536, 24, 100)}
QUARTER_REGISTERS, REGISTERS_AT_ONCE, WARP = 65536 // 4, 256, 32

Use = collections.namedtuple('Use', 'registers spilled shared')
Launch = collections.namedtuple('Launch', 'threads shared')


def readable(names):
    text = subprocess.run(['c++filt'], input='\n'.join(names), capture_output=True, text=True,
                          check=True).stdout.split('\n')
    short = [re.sub(r'dfengine::(cuda::)?|\(anonymous namespace\)::|void ', '', name) for name in text]
    return dict(zip(names, (name.split('(')[0].replace(' ', '') for name in short)))


def compile_one(source):
    nvcc = shutil.which('nvcc') or '/usr/local/cuda/bin/nvcc'
    command = (['ccache'] if shutil.which('ccache') else []) + [
        nvcc, '-std=c++20', '-O3', '-DNDEBUG', '--expt-relaxed-constexpr', '-I.', '-Xptxas', '-v']
    command += [f'--generate-code=arch=compute_{a},code=sm_{a}' for a in ARCHITECTURES]
    target = os.path.join('build', 'registers', source.replace('/', '_') + '.o')
    done = subprocess.run(command + ['-c', source, '-o', target], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f'{source}: {done.stderr}')
    return done.stderr


def uses_of(log):
    """{(kernel, architecture): Use} of ptxas -v."""
    pattern = re.compile(
        r"Compiling entry function '(\S+)' for 'sm_(\d+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads"
        r'.*?Used (\d+) registers([^\n]*)', re.S)
    uses = {}
    for name, arch, stores, loads, registers, rest in pattern.findall(log):
        shared = re.search(r'(\d+) bytes smem', rest)
        uses[name, int(arch)] = Use(int(registers), int(stores) + int(loads), int(shared[1]) if shared else 0)
    return uses


def launches_of(preset):
    """The most threads and bytes of shared memory that tests launched a kernel with."""
    lines = []
    for path in glob.glob(f'build/{preset}/ptx/*.launches'):
        lines += [line.split() for line in open(path)]
    names = readable([line[4] for line in lines]) if lines else {}
    launches = {}
    for count, _, threads, shared, name in lines:
        old = launches.get(names[name], Launch(0, 0))
        launches[names[name]] = Launch(max(old.threads, int(threads)), max(old.shared, int(shared)))
    return {name: launch for name, launch in launches.items() if launch.threads > 0}


def blocks_per_multiprocessor(arch, use, launch):
    threads, most_blocks, kilobytes = ARCHITECTURES[arch]
    warps = -(-launch.threads // WARP)
    of_a_warp = -(-use.registers * WARP // REGISTERS_AT_ONCE) * REGISTERS_AT_ONCE
    by_registers = QUARTER_REGISTERS // of_a_warp * 4 // warps
    by_shared = (kilobytes << 10) // (max(launch.shared, use.shared) + 1024)
    return min(threads // (warps * WARP), most_blocks, by_registers, by_shared)


def table(uses, launches):
    names = readable(sorted({name for name, _ in uses}))
    rows = []
    for name, short in names.items():
        launch = launches.get(short)
        cells = []
        for arch in ARCHITECTURES:
            use = uses[name, arch]
            blocks = blocks_per_multiprocessor(arch, use, launch) if launch else '-'
            cells.append(f'{use.registers}/{use.spilled}/{blocks}')
        most = f'{launch.threads} {launch.shared}' if launch else '- -'
        rows.append(f'{short} {most} ' + ' '.join(cells))
    head = ['# What ptxas makes of the kernels. Made by tests/run.sh registers --renew: do not edit.',
            '# KERNEL, its most threads and bytes of shared memory in tests, and for each architecture',
            '# registers / bytes spilled / blocks per multiprocessor ("-": no test launches it)',
            '# kernel threads shared ' + ' '.join(f'sm_{a}' for a in ARCHITECTURES)]
    return head + sorted(rows)


def spilled(rows):
    """{(kernel, column): bytes}"""
    return {(row.split()[0], n): int(cell.split('/')[1])
            for row in rows if not row.startswith('#') for n, cell in enumerate(row.split()[3:])}


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
    arguments = [a for a in sys.argv[1:] if a != '--renew']
    path = 'tests/ptx/registers.txt'
    if not (shutil.which('nvcc') or os.path.exists('/usr/local/cuda/bin/nvcc')):
        print('registers LEFT OUT: no nvcc on PATH or in /usr/local/cuda/bin')
        sys.exit(77)
    if not os.path.exists(path) and '--renew' not in sys.argv:
        sys.exit(f'registers: there is no {path} yet: tests/run.sh registers --renew writes it')
    os.makedirs('build/registers', exist_ok=True)
    sources = subprocess.run(['git', 'ls-files', 'kernels/cuda/*.cu'], capture_output=True, text=True,
                             check=True).stdout.split()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        # The longest first.
        logs = pool.map(compile_one, sorted(sources, key=lambda s: 'pointwise_conv' not in s))
        uses = {key: use for log in logs for key, use in uses_of(log).items()}
    rows = table(uses, launches_of(arguments[0] if arguments else 'cpu'))
    old = open(path).read().splitlines() if os.path.exists(path) else []
    before = spilled(old)
    worse = [key for key, count in spilled(rows).items() if count > before.get(key, 0)]
    for name, column in worse:
        print(f'registers: {name} spills for sm_{list(ARCHITECTURES)[column]}')
    if '--renew' in sys.argv:
        with open(path, 'w') as out:
            out.write('\n'.join(rows) + '\n')
        print(f'registers: {len(rows) - 4} kernels written to {path}')
        return
    changed = sorted(set(rows) ^ set(old), key=lambda row: (row.split()[0], row in rows))
    for row in changed:
        print(('+ ' if row in rows else '- ') + row)
    if changed:
        print('registers: what is new is marked +; if it is as it should be, tests/run.sh registers --renew')
    else:
        print(f'registers: {len(rows) - 4} kernels are as in {path}')
    sys.exit(1 if worse or changed else 0)


if __name__ == '__main__':
    main()
