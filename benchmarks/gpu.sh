#!/usr/bin/env bash
# Checks and measures Tanzaku on a machine with a CUDA GPU, in under 12 minutes and without network:
#
#   1. the tests marked `gpu`,
#   2. a distillation, which resumes from the newest checkpoint in a given folder and leaves the newest one in --out,
#   3. the benchmark of training steps.
#
# Each part has its own time limit. --out has a log of each part and summary.tsv with each part's exit status and seconds;
# the script's exit status is 1 if a part failed. A distillation that is stopped at its limit has not failed: run the
# script again with --resume on the folder in which it left its checkpoint.
#
#   benchmarks/gpu.sh --out results --teacher e5-ja --texts texts/ -- --student layers=4 --tokens 200000000
#   benchmarks/gpu.sh --out results --scale tiny --device cpu      # shows on any machine that everything works
#
# Options:
#   --out DIR         folder for the results, new or empty
#   --teacher DIR     encoder to distil; without it, a tiny random one
#   --texts PATH      text for the distillation; may be given several times; without it, the sample corpus
#   --resume DIR      results of an earlier call
#   --split MB        write the checkpoint as files of at most so many megabytes, for machines that return only small files
#   --wheels DIR      wheels of packages that the Python environment lacks (often pydantic, pydantic-core,
#                     annotated-types, typing-inspection, fugashi, ipadic and tomli-w)
#   --python PATH     the Python (python3)
#   --scale S         full, or tiny for a few seconds of each part
#   --device D        cuda, or cpu to try the script
#   --only PART       tests, distil or bench; may be given several times
#   -- OPTIONS        further options of `tanzaku distill`
set -uo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
out='' teacher='' resume='' split='' wheels='' python=python3 scale=full device=cuda
texts=() parts=() options=()
while [ $# -gt 0 ]; do
  case $1 in
    --out | --teacher | --resume | --split | --wheels | --python | --scale | --device)
      [ $# -ge 2 ] || { echo "$1 needs a value" >&2; exit 2; }
      printf -v "${1#--}" %s "$2"
      shift 2
      ;;
    --texts) texts+=("$2"); shift 2 ;;
    --only) parts+=("$2"); shift 2 ;;
    --) shift; options=("$@"); break ;;
    *) echo "unknown option $1; see the head of $0" >&2; exit 2 ;;
  esac
done
[ -n "$out" ] || { echo "--out is missing; see the head of $0" >&2; exit 2; }
case $scale in full | tiny) ;; *) echo "--scale $scale: choose full or tiny" >&2; exit 2 ;; esac
case $device in cuda | cpu) ;; *) echo "--device $device: choose cuda or cpu" >&2; exit 2 ;; esac
if [ -d "$out" ] && [ -n "$(ls -A "$out")" ]; then echo "--out $out is not empty" >&2; exit 2; fi
[ ${#parts[@]} -gt 0 ] || parts=(tests distil bench)

mkdir -p "$out"
out=$(cd "$out" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Paths were given from the caller's folder; everything below runs in the repository.
absolute() { (cd "$(dirname "$1")" && printf '%s/%s' "$(pwd)" "$(basename "$1")"); }
[ -z "$teacher" ] || teacher=$(absolute "$teacher")
[ -z "$resume" ] || resume=$(absolute "$resume")
for number in "${!texts[@]}"; do texts[number]=$(absolute "${texts[number]}"); done
export PYTHONPATH=$root/src:$root PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
if [ -n "$wheels" ]; then
  "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$scratch/site" "$wheels"/*.whl || exit 1
  PYTHONPATH=$PYTHONPATH:$scratch/site
fi
cd "$root" || exit 1
"$python" -c 'import torch; print("torch", torch.__version__, "on", torch.cuda.get_device_name() if torch.cuda.is_available() else "the CPU")' |
  tee "$out/machine.txt" || exit 1

printf 'part\tstatus\texit\tseconds\n' > "$out/summary.tsv"
failed=0

# run PART SECONDS COMMAND...: its output goes to PART.log. At the limit, a distillation saves its checkpoint.
run() {
  local part=$1 limit=$2 began=$SECONDS code state
  shift 2
  timeout --signal=TERM --kill-after=30 "$limit" "$@" > "$out/$part.log" 2>&1
  code=$?
  case $code in
    0) state=passed ;;
    124) state=stopped ;; # at the limit
    *) state=failed ;;
  esac
  # Only a distillation can be continued.
  if [ "$state" = stopped ] && [ "$part" != distil ]; then state=failed; fi
  [ "$state" != failed ] || failed=1
  printf '%s\t%s\t%s\t%s\n' "$part" "$state" "$code" "$((SECONDS - began))" | tee -a "$out/summary.tsv"
}

tests() {
  local chosen=(-m gpu) files=()
  if [ "$device" = cuda ]; then
    # Only files with such tests are imported: others need packages that this machine may lack.
    mapfile -t files < <(grep -rlE 'mark\.gpu|DEVICES' tests --include='test_*.py' | sort)
  else
    # Tests of the same paths on the CPU show that the script works.
    chosen=()
    files=(tests/encoders/test_quantized.py tests/training/test_checkpoint.py)
  fi
  # Warnings of other versions of the packages than those of constraints.txt are not errors here.
  run tests 230 "$python" -m pytest -q -W default -p no:cacheprovider --timeout 200 "${chosen[@]}" "${files[@]}"
}

distil() {
  local work=$scratch/work student=$out/student own=()
  mkdir -p "$work"
  if [ -n "$resume" ]; then
    if compgen -G "$resume/checkpoints.tar.*" > /dev/null; then cat "$resume"/checkpoints.tar.* | tar -x -C "$work"; fi
    if [ -d "$resume/checkpoints" ]; then cp -r "$resume/checkpoints" "$work/"; fi
  fi
  if [ -z "$teacher" ]; then
    teacher=$scratch/teacher
    "$python" -c 'import sys; from pathlib import Path; from tests.tiny import make_encoder; make_encoder(Path(sys.argv[1]), layers=4, pooler=False)' "$teacher" || { failed=1; return; }
    own=(--student layers=2 --max-tokens 64)
  else
    own=(--student layers=4 --max-tokens 512)
  fi
  [ ${#texts[@]} -gt 0 ] || texts=("$root/src/tanzaku/data/sample/text")
  local budget=(--tokens 200000000)
  if [ "$scale" = tiny ]; then
    own+=(--batch-tokens 512 --evaluations 2)
    budget=(--steps 20)
  else
    own+=(--batch-tokens 65536)
  fi
  # Of an option that is given twice the last one counts, but there can be only one budget.
  case " ${options[*]} " in
    *' --steps '* | *' --tokens '* | *' --minutes '* | *' --epochs '*) ;;
    *) own+=("${budget[@]}") ;;
  esac
  local sources=()
  for text in "${texts[@]}"; do sources+=(--texts "$text"); done
  run distil 350 "$python" -m tanzaku distill "$teacher" "${sources[@]}" --out "$student" --work "$work" \
    --device "$device" --checkpoint-minutes 2 --save-dtype float16 "${own[@]}" "${options[@]}"
  if compgen -G "$work/checkpoints/*/step-*" > /dev/null; then # a distillation that is finished has none
    # Of each distillation only the newest checkpoint.
    for folder in "$work"/checkpoints/*/; do
      ls -d "$folder"step-* 2> /dev/null | sort -r | tail -n +2 | while read -r old; do rm -rf "$old"; done
    done
    if [ -n "$split" ]; then
      tar -c -C "$work" checkpoints | split -d -b "${split}M" - "$out/checkpoints.tar."
    else
      cp -r "$work/checkpoints" "$out/"
    fi
  fi
}

bench() {
  local size=--quick
  [ "$scale" = full ] || size=--tiny
  run bench 100 "$python" -m benchmarks "$size" --only steps-base --out "$out/bench.json"
}

for part in "${parts[@]}"; do
  case $part in
    tests | distil | bench) "$part" ;;
    *) echo "--only $part: choose tests, distil or bench" >&2; exit 2 ;;
  esac
done
exit $failed
