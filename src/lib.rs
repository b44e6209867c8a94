//! korch orchestrates the loading of a data lake.

pub mod domain;
pub mod handler;
pub mod log;
