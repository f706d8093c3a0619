//! hostup-sim
