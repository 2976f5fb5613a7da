//! The second guest program, `guest/setup/`: what is sent for each stage.

use super::stage::Name;

macro_rules! program {
    ($($part:literal),*) => {
        concat!(
            include_str!("../guest/setup/10-common.sh"),
            include_str!("../guest/setup/11-answers.sh"),
            $(include_str!(concat!("../guest/setup/", $part, ".sh")),)*
            include_str!("../guest/setup/90-main.sh"),
        )
    };
}

/// Sets the guest's clock.
pub(crate) const CLOCK: &str = program!("20-clock");
/// Makes the VM one in which an image can be built.
pub(crate) const BUILDER: &str = program!("15-packages", "17-user", "20-builder");
/// Says which stages ran.
pub(super) const STAGES: &str = program!();

const HOME: &str = program!("20-home");
const SYSTEM: &str = program!("20-system");
const APT: &str = program!("15-packages", "20-apt");
const PODMAN: &str = program!("15-packages", "17-user", "20-podman");
const DOCKER: &str = program!("15-packages", "17-user", "20-docker");
const NESTED: &str = program!("15-packages", "16-download", "17-user", "20-nested");
const NPM: &str = program!("16-download", "20-npm");
const PYTHON: &str = program!("16-download", "20-python");
const TOOLS: &str = program!("20-tools");

/// The program that runs a stage.
pub(super) fn of(name: Name) -> &'static str {
    match name {
        Name::Home => HOME,
        Name::System => SYSTEM,
        Name::Apt => APT,
        Name::Podman => PODMAN,
        Name::Docker => DOCKER,
        Name::Nested => NESTED,
        Name::Npm => NPM,
        Name::Python => PYTHON,
        Name::Tools => TOOLS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_can_be_sent() {
        for name in Name::ALL {
            // base64 makes four bytes of three; see `guest::call`.
            assert!(of(*name).len() < (90 << 10) / 4 * 3, "{name:?}");
        }
        assert!(BUILDER.len() < (90 << 10) / 4 * 3);
    }
}
