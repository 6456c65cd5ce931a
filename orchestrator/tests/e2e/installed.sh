# Uses an installed bench as its users do, on a system without this repository. Says what it did in
# the end:  case installed | programs N | check C
#   installed.sh PREFIX [unchecked]    `unchecked`: without `orchestrator check`, which boots a guest
set -eu
trap 'echo "installed.sh: line $LINENO failed: $BASH_COMMAND" >&2' ERR
prefix=$1
PATH=$prefix/bin:/usr/sbin:/usr/bin:/sbin:/bin
share=$prefix/share
work=$(mktemp -d)
cd "$work"
HOME=$work
export HOME PATH

programs=0
for program in orchestrator rtload webload cgi-rotate rtplan reports; do
  "$program" --version | grep -q "^$program [0-9]"
  # The page and the completions that came with it.
  gzip -dc "$share/man/man1/$program.1.gz" | grep -q "^\.TH $program 1"
  [ $program = cgi-rotate ] || bash -n "$share/bash-completion/completions/$program"
  programs=$((programs + 1))
done
for page in orchestrator-reserve orchestrator-hook-install rtload-run rtplan-budget reports-render; do
  [ -s "$share/man/man1/$page.1.gz" ]
done
for other in zsh/vendor-completions/_reports fish/vendor_completions.d/rtplan.fish \
  doc/rt-vm-bench/docs/formats.md doc/rt-vm-bench/README.md; do
  [ -s "$share/$other" ]
done

rtplan analyse --task 30ms/150ms --task 50ms/200ms --reservation 28ms/50ms --supply aligned > analysis
rtload run --task 1ms/10ms --duration 1s --policy other --out jobs.csv > /dev/null 2>&1
[ "$(wc -l < jobs.csv)" = 101 ]
cgi-rotate --angle 20 --width 64 --height 48 -o turned.png
[ -s turned.png ]
# A name, which a program without libraries has to resolve, too; nobody listens there.
webload --url http://localhost:9/ --clients 1 --requests 1 --summary json > web.json 2> web.err || :
grep -q '"failures":1' web.json || { cat web.json web.err >&2; false; }
orchestrator run "$share/rt-vm-bench/experiments/quick.toml" --dry-run > plan
grep -q fig4-loaded plan
folder=$(rtplan simulate --suite "$share/rt-vm-bench/experiments/quick.toml" --only fig4-loaded --out results)
reports table "$folder" | grep -q fig4-loaded
reports render "$folder" > /dev/null
[ -s "$folder/report/index.html" ]
check=0
if [ "${2:-}" = unchecked ]; then
  check=unchecked
else
  orchestrator check > check.txt 2> check.err || check=$?
  grep -q SCHED_DEADLINE check.txt
fi
cd /
rm -rf "$work"
echo "case installed | programs $programs | check $check"
