//! korch orchestrates the loading of a data lake.

pub mod catalog_file;
pub mod domain;
pub mod handler;
pub mod log;
pub mod plan_report;
