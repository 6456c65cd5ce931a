//! What the network traffic of a VM's web service costs the host, and who pays for it: CPU time of
//! the VM's threads (`supply.csv`) and of the network's softirqs (`softirq.csv`), for each request.

pub mod account;
pub mod curves;
pub mod figure;
pub mod table;

pub use account::{Account, Part, Payer};

use crate::folder::{Case, Results};

/// A web service in a VM that was traced.
#[derive(Debug)]
pub struct Served<'a> {
    /// The case.
    pub case: &'a Case,
    /// An account of each repetition that counts and was traced, with its attempt.
    pub accounts: Vec<(u32, Account)>,
}

impl Served<'_> {
    /// All repetitions together.
    #[must_use]
    pub fn together(&self) -> Account {
        let mut all = Account::default();
        self.accounts.iter().for_each(|(_, own)| all += own);
        all
    }

    /// Where QEMU's other threads run.
    #[must_use]
    pub fn emulator(&self) -> String {
        account::placement(self.case.workload().emulator())
    }
}

/// Every web service in a VM of which at least one repetition was traced, in the suite's order.
#[must_use]
pub fn all(results: &Results) -> Vec<Served<'_>> {
    let measured = results.manifest.host.measured_cpu;
    let accounts = |case: &Case| accounts(case, case.workload().cpu().unwrap_or(measured));
    let all = results.cases.iter().map(|case| Served { case, accounts: accounts(case) });
    all.filter(|own| !own.accounts.is_empty()).collect()
}

fn accounts(case: &Case, measured: u32) -> Vec<(u32, Account)> {
    let of = |traffic: &results::network::Traffic| {
        let traced = case.traced.iter().find(|own| own.attempt == traffic.attempt)?;
        // A trace with gaps would account for less than was used.
        traced.flaw().is_none().then_some(())?;
        Some((traffic.attempt, Account::of(case, traffic, traced, measured)))
    };
    case.traffic.iter().filter_map(of).collect()
}
