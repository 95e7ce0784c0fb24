#!/usr/bin/env python3
"""What ptxas makes of every kernel for each GPU: registers, spills, shared memory, blocks per multiprocessor.

Usage: tests/run.sh registers [--renew] [PRESET]
  Compares with registers.txt beside this file. Fails where they differ, where a kernel spills more than the
  table has or keeps an array in local memory, and where less blocks fit a multiprocessor of GRID_FOR than its
  launch bounds promise, for which grids are made. --renew writes the table.
  PRESET (default cpu): the build in which `tests/run.sh ptx` noted the shared memory of each launch. A kernel
  that was not launched there has what the table says.
As releases are built, PTX of sm_80 becomes code of sm_80, 86 and 89, and PTX of sm_90 that of 90 and 120:
a minute and a half on two cores.
"""
import collections
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

# CUDA C++ Programming Guide, "Technical Specifications per Compute Capability": threads, blocks and KB of
# shared memory per multiprocessor. Each block costs one more KB, and may have all but that one.
ARCHITECTURES = {80: (2048, 32, 164), 86: (1536, 16, 100), 89: (1536, 24, 100), 90: (2048, 32, 228),
                 120: (1536, 24, 100)}
PTX_FOR = {'80': (80, 86, 89), '90': (90, 120), '90a': (90,)}
# Code that uses this header is for one architecture alone (kernels/cuda/cuda.cmake).
FOR_90A = 'kernels/cuda/wgmma.cuh'
GRID_FOR = 90
QUARTER_REGISTERS, REGISTERS_AT_ONCE, WARP = 65536 // 4, 256, 32
# Of a block that no launch bounds limit.
MOST_THREADS = 1024

Bounds = collections.namedtuple('Bounds', 'threads blocks')
Use = collections.namedtuple('Use', 'registers spilled shared')

TABLE = 'tests/ptx/registers.txt'
HEAD = ['# What ptxas makes of the kernels. Made by tests/run.sh registers --renew: do not edit.',
        '# Threads and blocks of the launch bounds, most bytes of shared memory of a launch, and for each GPU',
        '# REGISTERS:BLOCKS that fit a multiprocessor (0: its shared memory is too small), and +BYTES spilled; - where it',
        '# cannot run.']


def short_names(names):
    """As c++filt has them, without namespaces, casts and parameters, a tile by its size. A mangled name
    has a digest of its file's path and options."""
    text = subprocess.run(['c++filt'], input='\n'.join(names), capture_output=True, text=True, check=True).stdout
    text = re.sub(r'dfengine::|\b(cuda|stem|test)::|\(anonymous namespace\)::|^void ', '', text, flags=re.M)
    text = re.sub(r'\(\w+\)(?=\d)| (?=[^\n])', '', text)
    text = re.sub(r'Tile<(\d+),(\d+),(\d+)[\d,]*>', r'\1x\2x\3', text)
    return [line.split('(')[0] for line in text.split('\n')]


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f'{" ".join(command)}: {done.stderr}')
    return done.stderr


def compile_one(nvcc, folder, source, virtual):
    """{kernel: Bounds} of the PTX, and {(kernel, architecture): Use} of the machine code."""
    ptx = os.path.join(folder, f'{source.replace("/", "_")}.{virtual}.ptx')
    run([nvcc, '-std=c++20', '-O3', '-DNDEBUG', '--expt-relaxed-constexpr', '-I.', '-ptx', f'-arch=compute_{virtual}',
         source, '-o', ptx])
    text = open(ptx).read()
    if '.local' in text:
        sys.exit(f'registers: a kernel of {source} has an array in local memory: index it by constants in unrolled loops')
    bounds = bounds_of(text)
    uses = {}
    for real in PTX_FOR[virtual] if bounds else ():
        target = virtual if virtual == '90a' else real
        log = run([os.path.join(os.path.dirname(nvcc), 'ptxas'), '-v', f'-arch=sm_{target}', ptx, '-o', os.devnull])
        uses |= uses_of(log)
    short = dict(zip(bounds, short_names(bounds)))
    if len(set(short.values())) < len(short):
        sys.exit(f'registers: two kernels of {source} have one short name: change short_names')
    return ({short[name]: value for name, value in bounds.items()},
            {(short[name], arch): use for (name, arch), use in uses.items()})


def virtual_architectures(source):
    return ('90a',) if f'#include "{FOR_90A}"' in open(source).read() else ('80', '90')


def bounds_of(ptx):
    bounds = {}
    for entry in re.split(r'^(?:\.visible |\.weak )?\.entry ', ptx, flags=re.M)[1:]:
        directives = dict(re.findall(r'^\.(maxntid|minnctapersm) (\d+)', entry.split('\n{')[0], re.M))
        bounds[re.match(r'\w+', entry)[0]] = Bounds(int(directives.get('maxntid', MOST_THREADS)),
                                                   int(directives.get('minnctapersm', 1)))
    return bounds


def uses_of(log):
    pattern = re.compile(
        r"Compiling entry function '(\S+)' for 'sm_(\d+)a?'.*?(\d+) bytes spill stores, (\d+) bytes spill loads"
        r'.*?Used (\d+) registers([^\n]*)', re.S)
    uses = {}
    for name, arch, stores, loads, registers, rest in pattern.findall(log):
        shared = re.search(r'(\d+) bytes smem', rest)
        uses[name, int(arch)] = Use(int(registers), int(stores) + int(loads), int(shared[1]) if shared else 0)
    return uses


def launched_shared(preset):
    """{kernel: the least and the most bytes of shared memory of a launch}"""
    lines = [line.split() for path in glob.glob(f'build/{preset}/ptx/*.launches') for line in open(path)]
    of_kernel = {}
    for name, (count, _, _, least, most, _) in zip(short_names([line[5] for line in lines]), lines):
        if int(count) > 0:
            before = of_kernel.get(name, (int(least), 0))
            of_kernel[name] = min(before[0], int(least)), max(before[1], int(most))
    return of_kernel


def blocks_per_multiprocessor(arch, use, threads, shared):
    most_threads, most_blocks, kilobytes = ARCHITECTURES[arch]
    warps = -(-threads // WARP)
    of_a_warp = -(-use.registers * WARP // REGISTERS_AT_ONCE) * REGISTERS_AT_ONCE
    by_registers = QUARTER_REGISTERS // of_a_warp * 4 // warps
    by_shared = (kilobytes << 10) // (shared + 1024)
    return min(most_threads // (warps * WARP), most_blocks, by_registers, by_shared)


def read_table():
    if not os.path.exists(TABLE):
        return {}
    return {line.split()[0]: line.split()[1:] for line in open(TABLE) if not line.startswith('#')}


def rows_of(bounds, uses, launched, old):
    """{kernel: cells} as in the table, and what is wrong with them."""
    rows, wrong = {}, []
    for name, (threads, promised) in sorted(bounds.items()):
        known = int(old[name][2]) if name in old else 0
        fixed = max(uses[name, arch].shared for arch in ARCHITECTURES if (name, arch) in uses)
        least, shared = (max(size, fixed) for size in launched.get(name, (known, known)))
        rows[name] = [str(threads), str(promised), str(shared)]
        for column, arch in enumerate(ARCHITECTURES, 3):
            if (name, arch) not in uses:
                rows[name].append('-')
                continue
            use = uses[name, arch]
            blocks = blocks_per_multiprocessor(arch, use, threads, shared)
            rows[name].append(f'{use.registers}:{blocks}' + (f'+{use.spilled}' if use.spilled else ''))
            before = old[name][column].partition('+')[2] if name in old else ''
            if use.spilled > int(before or 0):
                wrong.append(f'{name} spills {use.spilled} bytes for sm_{arch}')
            # A kernel whose blocks have more shared memory in one launch than in another keeps its promise in some.
            at_best = blocks_per_multiprocessor(arch, use, threads, least)
            if arch == GRID_FOR and at_best < promised:
                wrong.append(f'{name}: {at_best} blocks fit a multiprocessor of sm_{arch}, and its grid is for {promised}')
    return rows, wrong


def written(rows):
    heads = ['kernel', 'threads', 'blocks', 'shared'] + [f'sm_{arch}' for arch in ARCHITECTURES]
    lines = [['# ' + heads[0]] + heads[1:]] + [[name] + rows[name] for name in sorted(rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return '\n'.join(HEAD + ['  '.join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
                             for line in lines]) + '\n'


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
    renew, others = '--renew' in sys.argv, [a for a in sys.argv[1:] if a != '--renew']
    nvcc = shutil.which('nvcc') or '/usr/local/cuda/bin/nvcc'
    if not os.path.exists(nvcc):
        print('registers LEFT OUT: no nvcc on PATH or in /usr/local/cuda/bin')
        sys.exit(77)
    old = read_table()
    sources = sorted(glob.glob('kernels/cuda/**/*.cu', recursive=True), key=lambda s: 'pointwise_conv' not in s)
    bounds, uses = {}, {}
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        # The longest first.
        jobs = [pool.submit(compile_one, nvcc, folder, s, v) for s in sources
                for v in virtual_architectures(s)]
        for job in jobs:
            of_bounds, of_uses = job.result()
            bounds |= of_bounds
            uses |= of_uses
    rows, wrong = rows_of(bounds, uses, launched_shared(others[0] if others else 'cpu'), old)
    for sentence in wrong:
        print(f'registers: {sentence}')
    if renew:
        with open(TABLE, 'w') as out:
            out.write(written(rows))
        print(f'registers: {len(rows)} kernels written to {TABLE}')
        return
    changed = sorted(name for name in rows.keys() | old.keys() if rows.get(name) != old.get(name))
    for name in changed:
        for sign, cells in ('-', old.get(name)), ('+', rows.get(name)):
            if cells:
                print(sign, name, *cells)
    if changed:
        print('registers: what is new is marked +; if it is as it should be, tests/run.sh registers --renew')
    else:
        spill = sum('+' in ' '.join(cells) for cells in rows.values())
        print(f'registers: {len(rows)} kernels are as in {TABLE}; {spill} spill, as before')
    sys.exit(1 if wrong or changed else 0)


if __name__ == '__main__':
    main()
