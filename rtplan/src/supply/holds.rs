//! On what conditions a supply is surely delivered, in words.

use model::duration;

use super::{Model, Supply};

impl Supply {
    /// What must be so for the supply to hold: the end of a sentence that begins "holds if".
    #[must_use]
    pub fn holds_if(&self) -> String {
        let mut text = match self.model {
            Model::Dedicated => "nothing else runs on the CPU".to_owned(),
            Model::TwoGap => format!(
                "all reservations on the CPU are {}, and together at most one CPU",
                self.kinds()
            ),
            Model::OneGap => UNDELAYED.to_owned(),
            Model::Aligned => format!(
                "{UNDELAYED}, tasks are released strictly periodically from their offsets on \
                 (absent: 0), and server periods start with a release (SCHED_DEADLINE) or at 0"
            ),
            Model::ExplicitDeadline(deadline) => format!(
                "the server gets its budget within the first {} of each period{}",
                duration::format(deadline),
                if self.is_overrun() { ", but for its neighbours' overruns" } else { "" }
            ),
        };
        let tick = self.costs.tick;
        if self.reservation.is_some() && !tick.is_zero() {
            text += &format!("; ticks are at most {} apart", duration::format(tick));
        }
        if self.is_overrun() {
            text += &format!("; there are at most {} other reservations", self.costs.neighbours);
        }
        text
    }

    /// Whether neighbours can take more than their budgets.
    fn is_overrun(&self) -> bool {
        self.costs.neighbours > 0 && !self.costs.tick.is_zero()
    }

    /// The servers that two-gap is meant for. A periodic or deferrable server that is late loses
    /// what is left of its budget as its period ends, a hard CBS does not.
    fn kinds(&self) -> &'static str {
        if self.is_overrun() {
            "hard constant bandwidth servers (SCHED_DEADLINE)"
        } else {
            "hard constant bandwidth servers (SCHED_DEADLINE) or periodic servers"
        }
    }
}

const UNDELAYED: &str =
    "nothing delays the server: no other reservation and no more urgent thread on its CPU";
