//! hostup-operator.
