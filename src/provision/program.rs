//! The second guest program, `guest/setup/`: what is sent for each stage.

use super::stage::Name;

macro_rules! program {
    ($($part:literal),*) => {
        concat!(
            include_str!("../guest/setup/10-common.sh"),
            $(include_str!(concat!("../guest/setup/", $part, ".sh")),)*
            include_str!("../guest/setup/90-main.sh"),
        )
    };
}

/// Sets the guest's clock.
pub(crate) const CLOCK: &str = program!("20-clock");
/// Says which stages ran.
pub(super) const STAGES: &str = program!();

const HOME: &str = program!("20-home");
const APT: &str = program!("15-packages", "20-apt");

/// The program that runs a stage.
pub(super) fn of(name: Name) -> &'static str {
    match name {
        Name::Home => HOME,
        Name::Apt => APT,
    }
}
