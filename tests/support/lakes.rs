//! Random catalogues shaped like data lakes, for tests of how well runs use their slots. What they are like and why is written
//! in docs/scheduling.md; the same seed makes the same lake everywhere.

#![allow(dead_code, clippy::needless_range_loop, clippy::unwrap_used, missing_docs)]

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use korch::domain::event::PlannedObject;
use korch::domain::object::{Criticality, ObjectId, Stage};

/// splitmix64
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(7919).wrapping_add(1))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to 1.
    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn range(&mut self, from: usize, to: usize) -> usize {
        from + (self.next() % (to - from + 1) as u64) as usize
    }

    pub fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.share(), self.share());
        (-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.range(0, list.len() - 1)]
    }
}

/// A catalogue as it is planned, and the slots for it.
pub struct Lake {
    pub stages: Vec<usize>,
    /// By place; parents come before their children.
    pub parents: Vec<Vec<usize>>,
    pub ms: Vec<u64>,
    pub slots: [u32; 3],
}

impl Lake {
    /// Of 20 to 3,000 objects.
    pub fn random(seed: u64) -> Lake {
        let mut random = Random::new(seed);
        let n = (20.0 * 150.0_f64.powf(random.share())) as usize;
        Lake::of(&mut random, n)
    }

    /// Of about so many objects.
    pub fn of(random: &mut Random, n: usize) -> Lake {
        let share = |from: f64, width: f64, random: &mut Random| n as f64 * (from + width * random.share());
        let finals = (share(0.02, 0.08, random) as usize).max(1);
        let standardized = (share(0.20, 0.20, random) as usize).max(2);
        let sources = n - finals - standardized;
        let (first_final, first_standardized) = (sources + standardized, sources);
        // Systems that the sources are of, the first ones the largest.
        let systems = ((n as f64 / 15.0).max(1.0).powf(random.share()) as usize).max(1);
        let system = |random: &mut Random| {
            let share = random.share();
            ((share * share * systems as f64) as usize).min(systems - 1)
        };
        let mut parents: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); n];
        let (mut sources_of, mut standardized_of) = (vec![Vec::new(); systems], vec![Vec::new(); systems]);
        for i in 0..sources {
            sources_of[system(random)].push(i);
        }
        let mut homes = Vec::new();
        for i in first_standardized..first_final {
            let home = loop {
                let home = system(random);
                if !sources_of[home].is_empty() {
                    break home;
                }
            };
            let share = random.share();
            for _ in 0..=(5.0 * share * share) as usize {
                let near = random.share() < 0.9;
                parents[i].insert(if near {
                    *random.of(&sources_of[home])
                } else {
                    random.range(0, sources - 1)
                });
            }
            if !standardized_of[home].is_empty() && random.share() < 0.15 {
                parents[i].insert(*random.of(&standardized_of[home]));
            }
            standardized_of[home].push(i);
            homes.push(home);
        }
        for i in first_final..n {
            let of: Vec<usize> = (0..random.range(1, 3)).map(|_| *random.of(&homes)).collect();
            let share = random.share();
            let many = random.share() < 0.15;
            let wanted = if many { random.range(20, 45) } else { 2 + (10.0 * share * share) as usize };
            for _ in 0..wanted {
                let home = *random.of(&of);
                let near = random.share() < 0.85;
                let any = random.range(first_standardized, first_final - 1);
                parents[i].insert(if near { *random.of(&standardized_of[home]) } else { any });
            }
            if random.share() < 0.3 {
                parents[i].insert(*random.of(&sources_of[of[0]]));
            }
            if i > first_final && random.share() < 0.15 {
                parents[i].insert(random.range(first_final, i - 1));
            }
        }
        // A plan has only what something final needs.
        let needed: BTreeSet<usize> = parents.iter().flatten().copied().collect();
        for (home, sources) in sources_of.iter().enumerate() {
            for source in sources.iter().filter(|source| !needed.contains(source)) {
                let child = match standardized_of[home].is_empty() {
                    true => random.range(first_final, n - 1),
                    false => *random.of(&standardized_of[home]),
                };
                parents[child].insert(*source);
            }
        }
        for i in (first_standardized..first_final).filter(|i| !needed.contains(i)) {
            parents[random.range(first_final, n - 1)].insert(i);
        }
        let stages: Vec<usize> =
            (0..n).map(|i| usize::from(i >= first_standardized) + usize::from(i >= first_final)).collect();
        let sigma = 0.2 + 1.2 * random.share();
        let kind = random.range(0, 2);
        let seconds = |stage: usize, random: &mut Random| {
            let usual = [20.0, 30.0, 60.0][stage];
            match kind {
                // A few are much longer than most, as times in practice are; more so with a larger sigma.
                0 => usual * (sigma * random.normal()).exp(),
                // Two kinds: ordinary ones, and one in ten that takes five to fifteen times as long.
                1 if random.share() < 0.9 => usual * (0.5 + random.share()),
                1 => usual * (5.0 + 10.0 * random.share()),
                // Anything up to twice the usual.
                _ => usual * (0.2 + 1.8 * random.share()),
            }
        };
        let ms = stages.iter().map(|&stage| ((seconds(stage, random) * 1000.0) as u64).clamp(100, 3_600_000));
        let ms = ms.collect();
        let slots = [(); 3].map(|()| random.range(1, 32) as u32);
        Lake {
            stages,
            parents: parents.into_iter().map(|parents| parents.into_iter().collect()).collect(),
            ms,
            slots,
        }
    }

    pub fn id(&self, i: usize) -> u64 {
        [1_000_000, 2_000_000, 3_000_000][self.stages[i]] + i as u64
    }

    /// As a run's plan has it, where every duration is known.
    pub fn planned(&self) -> Vec<PlannedObject> {
        let object = |i: usize| PlannedObject {
            parents: self.parents[i].iter().map(|&parent| ObjectId(self.id(parent))).collect(),
            expected_ms: Some(self.ms[i]),
            ..PlannedObject::new(ObjectId(self.id(i)), Stage::ALL[self.stages[i]], Criticality::default())
        };
        (0..self.ms.len()).map(object).collect()
    }

    fn children(&self) -> Vec<Vec<usize>> {
        let mut children = vec![Vec::new(); self.ms.len()];
        for (child, parents) in self.parents.iter().enumerate() {
            for &parent in parents {
                children[parent].push(child);
            }
        }
        children
    }

    /// The longest path, or the work of a stage shared by its slots, whichever is longer.
    pub fn lower_bound_ms(&self) -> u64 {
        let mut ends = vec![0; self.ms.len()];
        let mut work = [0_u64; 3];
        for (i, parents) in self.parents.iter().enumerate() {
            ends[i] = self.ms[i] + parents.iter().map(|&parent| ends[parent]).max().unwrap_or(0);
            work[self.stages[i]] += self.ms[i];
        }
        let shared = work.iter().zip(self.slots).map(|(work, slots)| work / u64::from(slots));
        shared.chain(ends).max().unwrap()
    }

    /// When all is over if at each stage the object that became ready first comes first, then the one with the lowest id.
    pub fn first_come_ms(&self, ms: &[u64]) -> u64 {
        let children = self.children();
        let mut unmet: Vec<usize> = self.parents.iter().map(Vec::len).collect();
        let mut free = self.slots;
        let mut ready: [BinaryHeap<Reverse<(u64, u64, usize)>>; 3] = Default::default();
        let mut ends: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
        for i in (0..ms.len()).filter(|&i| unmet[i] == 0) {
            ready[self.stages[i]].push(Reverse((0, self.id(i), i)));
        }
        let mut now = 0;
        loop {
            for stage in 0..3 {
                while free[stage] > 0
                    && let Some(Reverse((_, _, i))) = ready[stage].pop()
                {
                    free[stage] -= 1;
                    ends.push(Reverse((now + ms[i], i)));
                }
            }
            let Some(&Reverse((next, _))) = ends.peek() else { return now };
            now = next;
            while let Some(&Reverse((end, i))) = ends.peek()
                && end == now
            {
                ends.pop();
                free[self.stages[i]] += 1;
                for &child in &children[i] {
                    unmet[child] -= 1;
                    if unmet[child] == 0 {
                        ready[self.stages[child]].push(Reverse((now, self.id(child), child)));
                    }
                }
            }
        }
    }
}
