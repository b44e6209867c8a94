//! The pure core: no async, no IO, no clock, no randomness. Time and events go in, events come out.

pub mod catalog;
pub mod graph;
pub mod object;
pub mod plan;
