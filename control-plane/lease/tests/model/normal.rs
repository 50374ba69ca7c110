//! One state for all that nothing can tell apart.
use crate::account::{Account, Asked, Process};
use crate::config::{Config, Fault, Small};
use crate::world::{Broker, REPLICAS, World};

impl World {
    /// The representative of all states that behave as this one does.
    pub(crate) fn normal(mut self, config: &Config) -> World {
        self.rank_terms();
        self.drop_useless(config);
        self.renumber();
        self.sorted(config)
    }

    /// Terms are only compared.
    fn rank_terms(&mut self) {
        let terms = self.replicas.map(|replica| replica.term);
        if terms == [0; REPLICAS] {
            return;
        }
        for replica in &mut self.replicas {
            let mut below = [false; REPLICAS];
            for (at, term) in terms.iter().enumerate() {
                below[at] = *term < replica.term && !terms[..at].contains(term);
            }
            replica.term = below.iter().map(|below| Small::from(*below)).sum();
        }
    }

    fn drop_useless(&mut self, config: &Config) {
        for at in 0..config.brokers {
            for asked in Asked::all().filter(|asked| asked.broker == at) {
                if self.brokers[at].renewals[asked.process][asked.slot].is_none() {
                    continue;
                }
                if self.brokers[at].drop_useless(asked, config) && !config.restarts {
                    self.forget(asked);
                }
            }
        }
        for replica in 0..REPLICAS {
            let is_current = self.is_current(replica);
            let fenced = self.fenced;
            let Some(account) = &mut self.replicas[replica].account else { continue };
            account.drop_useless(fenced, config);
            if !is_current && !config.fault.is_of_deposed() {
                account.drop_grants();
                if account.proven <= fenced && account.proof.is_none() {
                    self.replicas[replica].account = None;
                }
            }
        }
    }

    /// Revisions are only compared, and nothing distinguishes those before the last that was fenced.
    fn renumber(&mut self) {
        let base = self.fenced.saturating_sub(1);
        if base == 0 {
            return;
        }
        let lower = |revision: &mut Small| *revision = revision.saturating_sub(base);
        lower(&mut self.log);
        lower(&mut self.fenced);
        for broker in &mut self.brokers {
            broker.revisions().for_each(lower);
        }
        for replica in &mut self.replicas {
            replica.settling.iter_mut().for_each(lower);
            replica.account.iter_mut().for_each(|account| account.lower(base));
        }
    }

    /// Replicas are alike, and brokers are.
    fn sorted(mut self, config: &Config) -> World {
        self.replicas.sort_unstable();
        if config.brokers < 2 {
            return self;
        }
        let mut swapped = self;
        swapped.brokers.swap(0, 1);
        swapped.accounts().for_each(Account::swap_nodes);
        swapped.replicas.sort_unstable();
        self.min(swapped)
    }
}

impl Broker {
    /// Drops a renewal that can extend nothing any more. True: it did.
    fn drop_useless(&mut self, asked: Asked, config: &Config) -> bool {
        let swept = self.swept;
        let Some(renewal) = &mut self.renewals[asked.process][asked.slot] else { return false };
        // One that may be taken whatever comes.
        renewal.grant.iter_mut().filter(|commit| **commit <= swept).for_each(|commit| *commit = 0);
        let useless = match config.fault {
            Fault::FreshFromReceipt | Fault::SequenceOfStream | Fault::GrantOfAnotherProcess => false,
            _ => renewal.left <= if asked.process == 0 { self.fresh } else { 0 },
        };
        if useless {
            self.renewals[asked.process][asked.slot] = None;
        }
        useless
    }

    fn revisions(&mut self) -> impl Iterator<Item = &mut Small> {
        let grants =
            self.renewals.iter_mut().flatten().flatten().filter_map(|renewal| renewal.grant.as_mut());
        let last_word = self.last_word.iter_mut().map(|(acked, _)| acked);
        [&mut self.view, &mut self.swept, &mut self.overlap.0].into_iter().chain(grants).chain(last_word)
    }
}

impl Account {
    fn drop_useless(&mut self, fenced: Small, config: &Config) {
        for process in self.nodes.iter_mut().flat_map(|node| &mut node.processes) {
            process.merge(process.acked.max(fenced));
            if !config.restarts {
                process.registered = None;
            }
        }
        if self.nodes.iter().all(|node| node.presumed == 0) {
            self.floor = 0;
        }
    }

    /// Of a leader who grants nothing any more: it answers no fence beyond its last proof.
    fn drop_grants(&mut self) {
        self.queue = 0;
        self.proof = self.proof.filter(|proof| proof.confirmed);
        let batch = self.proof.map_or(0, |proof| proof.batch);
        for asked in Asked::all().filter(|asked| batch & asked.bit() == 0) {
            self.process(asked).unproven[asked.slot] = 0;
        }
        for process in self.nodes.iter_mut().flat_map(|node| &mut node.processes) {
            process.holds[usize::from(self.proven)..].fill(0);
        }
    }

    fn lower(&mut self, base: Small) {
        self.floor = self.floor.saturating_sub(base);
        self.proven = self.proven.saturating_sub(base);
        self.proof.iter_mut().for_each(|proof| proof.commit = proof.commit.saturating_sub(base));
        for process in self.nodes.iter_mut().flat_map(|node| &mut node.processes) {
            process.lower(base);
        }
    }

    fn swap_nodes(&mut self) {
        self.nodes.swap(0, 1);
        let swap = |batch: u8| batch.rotate_left(4);
        self.queue = swap(self.queue);
        self.proof.iter_mut().for_each(|proof| proof.batch = swap(proof.batch));
    }
}

impl Process {
    fn lower(&mut self, base: Small) {
        self.acked = self.acked.saturating_sub(base);
        self.registered.iter_mut().for_each(|then| *then = then.saturating_sub(base));
        self.merge(base);
        self.holds.rotate_left(usize::from(base));
    }
}
