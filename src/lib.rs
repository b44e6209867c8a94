//! korch orchestrates the loading of a data lake: the log is the database, everything known is a fold over it.
//!
//! Arrows run downwards only: `main` → `roles` → {`api`, `follower`, `planning`, `handler`} → {`view`, `log`} → `domain`. Roles do not
//! import each other (`up` starts them), and `domain` imports nothing of ours from outside `domain`.

pub mod api;
pub mod catalog_file;
pub mod cli;
pub mod client;
pub mod domain;
pub mod exit;
pub mod follower;
pub mod handler;
pub mod log;
pub mod plan_report;
pub mod planning;
pub mod progress;
pub mod roles;
pub mod summary;
pub mod telemetry;
pub mod view;
