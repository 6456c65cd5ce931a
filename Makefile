# make suite   set up, build, run experiments/quick.toml, render the report
# make test    everything that is checked before a change lands
# make paper   as `make suite`, with the paper's full protocol
# make kvm     figures 1 to 4 and Table 1 under real KVM, in an emulated lab host
# make lab-test  the campaign in lab hosts: KVM, isolated CPUs, PREEMPT_RT, libvirt; the package
#              in a clean root; a Slurm cluster of two nodes; a Debian cloud image in a suite (some
#              40 minutes)
# make torture runs killed at random instants, restored and resumed; disks full at every write; 200
#              repetitions in one run (about an hour and a half; its small form is in make test)
# make fuzz    spoiled inputs for whatever reads bytes, FUZZ_SECONDS (60) each; a few are in make test
# make peers   ten files of rt-app, played by rtload and by rt-app in turn (three in make test)
# make bench   ours against its peers, in turn, on this machine
# make deb     a Debian package of it all
# make dist    a tarball of programs without shared libraries, for hosts of any distribution

.PHONY: suite paper kvm test lab-test torture fuzz peers bench build deb dist setup

suite:
	@scripts/suite.sh experiments/quick.toml

paper:
	@scripts/suite.sh experiments/paper.toml

kvm:
	@scripts/suite.sh experiments/kvm.toml lab

build: setup
	@cargo build --release --workspace --quiet
	@scripts/static.sh
	@target/release/orchestrator fetch-kernel

deb:
	@cargo build --release --workspace --quiet
	@scripts/static.sh
	@scripts/deb.sh

dist:
	@scripts/dist.sh

setup:
	@scripts/setup.sh

test:
	@scripts/test.sh

lab-test:
	@scripts/setup.sh test
	@cargo test --release --workspace --test e2e --examples --no-run --quiet
	@scripts/static.sh guest-agent rtload
	@RTVM_BUILT=true cargo test --release --workspace --test e2e -- --ignored lab:: tenants:: entered:: own_disk:: reservations:: libvirt:: package:: sabotaged:: sentinel:: slurm:: --nocapture --test-threads 1

torture:
	@scripts/setup.sh test
	@cargo test --release --workspace --test e2e --examples --no-run --quiet
	@scripts/static.sh guest-agent rtload
	@RTVM_BUILT=true TORTURE_KILLS=$${TORTURE_KILLS:-300} cargo test --release --workspace --test e2e -- --include-ignored torture:: faults_ advise:: run:: sweep:: web:: running:: entered:: soak:: travel:: --nocapture --test-threads 1

fuzz:
	@cargo test --release --workspace --no-run --quiet
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-60} cargo test --release --workspace mutated -- --nocapture --test-threads 1
	@cargo test --release --workspace --test it -- --ignored a_million_tasks

peers:
	@scripts/setup.sh test
	@cargo test --release --workspace --test rt_app -- --ignored --nocapture --test-threads 1

bench:
	@scripts/setup.sh bench
	@cargo build --release --workspace --quiet
	@scripts/bench.sh
