//! The world that the simulated processes share: logs that lose and repeat, and a virtual clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::event::{Event, Place, partition_of};
use crate::domain::member::Member;
use crate::domain::object::{ObjectId, Stage};
use crate::domain::run::Stamp;

/// What becomes of an object's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Loads,
    Fails,
    /// Its first attempt fails and is worth another; it has one.
    FailsOnce,
    /// Every attempt fails though each is worth another.
    KeepsFailing,
}

/// The logs, the clock and the dice.
pub(super) struct World {
    pub(super) rng: fastrand::Rng,
    pub(super) now: Duration,
    pub(super) events: Vec<Vec<(i64, Vec<u8>)>>,
    /// Every record's place, in the order in which the logs took them.
    pub(super) order: Vec<Place>,
    pub(super) members: Vec<Vec<u8>>,
    pub(super) fates: BTreeMap<ObjectId, Fate>,
    pub(super) stages: BTreeMap<ObjectId, Stage>,
    pub(super) foreign: BTreeSet<Stage>,
    pub(super) lease: Duration,
    /// Whether appends may fail, heartbeats get lost, processes die.
    pub(super) faults: bool,
    pub(super) trace: Option<Vec<String>>,
}

impl World {
    pub(super) fn chance(&mut self, per_mille: u32) -> bool {
        self.rng.u32(0..1000) < per_mille
    }

    pub(super) fn wall(&self) -> Timestamp {
        let us = 1_700_000_000_000_000 + i64::try_from(self.now.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_microsecond(us).unwrap_or_default()
    }

    pub(super) fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>7.2} {}", self.now.as_secs_f64(), line()));
        }
    }

    pub(super) fn ends(&self) -> Vec<u64> {
        self.events.iter().map(|partition| partition.len() as u64).collect()
    }

    /// Puts bytes at the end of a partition.
    pub(super) fn put(&mut self, partition: u32, value: Vec<u8>) {
        let at = self.wall().as_microsecond();
        let records = &mut self.events[partition as usize];
        self.order.push(Place { partition, offset: records.len() as u64 });
        records.push((at, value));
    }

    /// Appends an event. False: no acknowledgement came, and the event may be there or not.
    pub(super) fn append(&mut self, event: &Event, partition: Option<u32>) -> bool {
        let partitions = u32::try_from(self.events.len()).unwrap_or(1);
        let partition = partition.unwrap_or_else(|| partition_of(event.key().as_bytes(), partitions));
        if self.faults && self.chance(40) {
            if self.chance(500) {
                self.put(partition, event.encode());
            }
            return false;
        }
        self.put(partition, event.encode());
        true
    }

    /// Appends to the members topic; sometimes it is lost.
    pub(super) fn speak(&mut self, member: &Member) {
        if !(self.faults && self.chance(50)) {
            self.members.push(member.encode());
        }
    }

    /// The event at a place, decoded as a reader does, if it is one.
    pub(super) fn event(&self, place: Place) -> Option<(Event, Stamp)> {
        let partition = self.events.get(place.partition as usize)?;
        let (timestamp_us, value) = partition.get(usize::try_from(place.offset).ok()?)?;
        let at = Timestamp::from_microsecond(*timestamp_us).unwrap_or_default();
        let event = Event::decode(value, place, at).ok()?;
        Some((event, Stamp { place, timestamp_us: *timestamp_us }))
    }
}

/// A reader of all partitions, at its own pace in each.
pub(super) struct Cursor {
    pub(super) position: Vec<u64>,
    target: Option<(Duration, Vec<u64>)>,
    /// The latest instant of the reader's clock such that it has read to the ends as they were then.
    pub(super) caught_up: Duration,
}

impl Cursor {
    pub(super) fn at(position: Vec<u64>) -> Cursor {
        Cursor { position, target: None, caught_up: Duration::ZERO }
    }

    pub(super) fn has_read(&self, ends: &[u64]) -> bool {
        self.position.iter().zip(ends).all(|(position, end)| position >= end)
    }

    /// The next records, of some partitions and not all of them where the world has faults.
    pub(super) fn read(&mut self, world: &mut World) -> Vec<(Event, Stamp)> {
        if self.target.is_none() {
            self.target = Some((world.now, world.ends()));
        }
        let mut partitions: Vec<usize> = (0..self.position.len()).collect();
        world.rng.shuffle(&mut partitions);
        let mut read = Vec::new();
        for partition in partitions {
            let end = world.events[partition].len() as u64;
            let mut until = end;
            if world.faults && world.chance(300) {
                until = world.rng.u64(self.position[partition]..=end);
            }
            for offset in self.position[partition]..until {
                let place = Place { partition: u32::try_from(partition).unwrap_or(0), offset };
                read.extend(world.event(place));
            }
            self.position[partition] = until;
        }
        if let Some((since, ends)) = self.target.take() {
            if self.has_read(&ends) {
                self.caught_up = since;
            } else {
                self.target = Some((since, ends));
            }
        }
        read
    }
}
