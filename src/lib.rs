//! korch orchestrates the loading of a data lake: the log is the database, everything known is a fold over it.
//!
//! Arrows run downwards only: `main` → `roles` → {`engine`, `api`, `planning`, `handler`} → {`view`, `log`} → `domain`. Roles
//! do not import each other, and `domain` imports nothing of ours from outside `domain`.

pub mod api;
pub mod attend;
pub mod catalog_file;
pub mod cli;
pub mod client;
pub mod doctor;
pub mod domain;
pub mod durations;
pub mod engine;
pub mod exit;
pub mod handler;
pub mod hearing;
pub mod log;
pub mod notify;
pub mod plan_report;
pub mod planning;
pub mod progress;
pub mod roles;
pub mod schedule_report;
pub mod serve;
pub mod simulate;
pub mod summary;
pub mod telemetry;
pub mod timetable;
pub mod tls;
pub mod view;
pub mod webhook;
