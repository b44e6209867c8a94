//! The pure core: no async, no IO, no clock, no randomness. Time and events go in, events come out.

pub mod object;
