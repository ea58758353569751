//! Engines that hosts share records on: the same cases against real servers of each type.

mod bed;
mod etcd;
mod failures;
mod leases;
mod news;
mod records;
mod redis;
