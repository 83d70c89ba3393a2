//! Downloads against real servers on loopback that behave well, badly, and hostilely.

mod behaviour;
mod origin;
mod policy;
mod rig;
