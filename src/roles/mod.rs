//! The processes: thin loops around the domain. Read, fold, decide, append.

pub mod orchestrate;
pub mod up;
pub mod worker;
