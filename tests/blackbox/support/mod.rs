//! What the tests stand on.

pub mod agent;
pub mod bundle;
pub mod case;
pub mod cgroup;
pub mod cmd;
pub mod isolate;
pub mod leak;
pub mod pty;
pub mod rootfs;
pub mod socket;
pub mod suite;
pub mod sys;
pub mod systemd;
pub mod worker;

pub use bundle::Bundle;
pub use case::{Case, ID};
pub use cmd::Out;
pub use suite::{Kind, Need, Test};

/// Lists the tests of a module: `name`, or `name: needs(Need::Root).rt_only()`.
#[macro_export]
macro_rules! tests {
    ($($name:ident $(: $($mark:ident ( $($arg:expr),* )).+ )?),* $(,)?) => {
        pub fn tests() -> Vec<$crate::support::Test> {
            vec![$($crate::support::Test::new(module_path!(), stringify!($name), $name)
                $( $(.$mark($($arg),*))+ )?),*]
        }
    };
}
