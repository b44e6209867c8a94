//! The loops around the domain: read, fold, decide or work, append. A role starts those that its process is for.

mod answer;
pub mod clockwork;
pub mod follower;
pub mod foreign;
pub mod orchestrator;
pub mod worker;
