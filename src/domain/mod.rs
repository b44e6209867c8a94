//! The pure core: no async, no IO, no clock, no randomness. Time and events go in, events come out.

pub mod attempt;
pub mod audit;
pub mod board;
pub mod catalog;
pub mod envelope;
pub mod estimate;
pub mod event;
pub mod explain;
pub mod graph;
pub mod history;
pub mod layout;
pub mod leader;
pub mod member;
pub mod object;
pub mod partition;
pub mod plan;
pub mod problem;
pub mod retry;
pub mod run;
pub mod scheduler;
pub mod selector;
pub mod simulation;
pub mod tidings;
pub mod wire;
pub mod worker;
