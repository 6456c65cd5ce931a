#!/bin/sh
# The speed of whole processes on one core, in turn with other people's programs: rotate 2000x2000
# by 20 degrees, bilinear, PPM to PPM and PNG to PNG. Prints medians and ratios.
#
#   cgi-rotate/bench.sh [ROUNDS]      (default 9; CPU=N chooses the core, default the last one)
#
# Exit code 4 where one of the promised ratios did not hold, 3 where a program is missing.
set -eu

cd "$(dirname "$0")/.."
rounds=${1:-9}
cpu=${CPU:-$(($(nproc) - 1))}
program=${CARGO_TARGET_DIR:-target}/release/cgi-rotate

for tool in vips gm convert taskset python3; do
    command -v "$tool" >/dev/null || {
        echo "bench: $tool is missing (packages: libvips-tools graphicsmagick imagemagick util-linux python3)" >&2
        exit 3
    }
done
cargo build --release --quiet --workspace

# In memory, so that no disk is measured.
folder=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo /tmp)")
trap 'rm -rf "$folder"' EXIT INT TERM

python3 - "$program" "$folder" "$rounds" "$cpu" <<'PYTHON'
import os, statistics, subprocess, sys, time

program, folder, rounds, cpu = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
# Several libraries start a thread a processor: one core means one thread as well.
environment = dict(os.environ, VIPS_CONCURRENCY="1", OMP_NUM_THREADS="1", MAGICK_THREAD_LIMIT="1")


def path(name):
    return os.path.join(folder, name)


def wall(command):
    """Seconds of wall time and of processor time, and peak KiB, of one whole process."""
    with open(os.devnull, "wb") as null:
        begin = time.monotonic()
        child = subprocess.Popen(["taskset", "-c", cpu, *command], env=environment, stdout=null)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - begin
    if status != 0:
        sys.exit(f"bench: {command} failed")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss


def commands(kind):
    source, to = path(f"in.{kind}"), lambda name: path(f"{name}.{kind}")
    return {
        "cgi-rotate": [program, "--angle", "20", source, "-o", to("ours")],
        "libvips": ["vips", "rotate", source, to("vips"), "20"],
        "GraphicsMagick": ["gm", "convert", source, "-background", "black", "-rotate", "20", to("gm")],
        "ImageMagick": ["convert", source, "-background", "black", "-rotate", "20", to("magick")],
    }


def race(kind):
    """Everyone in turn, round by round, so that a slow moment of the machine hits them alike."""
    runs = {name: [] for name in commands(kind)}
    for _ in range(rounds + 1):
        for name, command in commands(kind).items():
            runs[name].append(wall(command))
    print(f"\n2000x2000 by 20 degrees, bilinear, {kind} to {kind}, CPU {cpu}, {rounds} rounds:")
    print(f"{'':16}{'median s':>10}{'fastest s':>11}{'cpu s':>8}{'peak MiB':>10}{'ratio':>8}")
    medians = {}
    for name, all_of_it in runs.items():
        kept = all_of_it[1:]  # the first round warms caches
        medians[name] = statistics.median(run[0] for run in kept)
        ratio = medians[name] / medians["cgi-rotate"]
        fastest, cpu_time = min(run[0] for run in kept), statistics.median(run[1] for run in kept)
        peak = max(run[2] for run in kept) / 1024
        print(f"{name:16}{medians[name]:10.4f}{fastest:11.4f}{cpu_time:8.3f}{peak:10.1f}{ratio:8.2f}")
    return medians


for kind in ("ppm", "png"):
    subprocess.run([program, "--angle", "0", "-o", path(f"in.{kind}")], check=True)
pixmaps, pngs = race("ppm"), race("png")
fastest = min(seconds for name, seconds in pixmaps.items() if name != "cgi-rotate")
claims = [
    ("ppm to ppm, against the fastest of them", fastest / pixmaps["cgi-rotate"], 1.5),
    ("png to png, against ImageMagick", pngs["ImageMagick"] / pngs["cgi-rotate"], 5.0),
]
print()
for what, ratio, promised in claims:
    verdict = "holds" if ratio >= promised else "FAILS"
    print(f"{verdict}: {what}: {ratio:.2f} times faster ({promised} promised)")
sys.exit(0 if all(ratio >= promised for _, ratio, promised in claims) else 4)
PYTHON
