//! Several operators, objects and hands at the options of one VPS.
