//! A guest that answers: the one place where "try it" and "start the VM" meet.
//!
//! A running VM is reached without asking its provider anything, which would cost as much as a
//! whole push. Only where nothing answers is the provider asked, and the VM made or started as far
//! as the command may.

use crate::clock;
use crate::config::Config;
use crate::guest::{Call, Guest, Session};
use crate::ui;
use crate::vm::{self, Need, Provider};

/// Opens a session with the guest program, with the VM made and started as far as `need` allows.
pub fn open(config: &Config, need: Need, call: &Call) -> anyhow::Result<(Guest, Session)> {
    let provider = vm::provider(config)?;
    let describe = provider.describe();
    if let Some(endpoint) = provider.endpoint()? {
        let guest = Guest::new(endpoint, describe.clone());
        match guest.open(call) {
            Ok(session) => return Ok(checked(provider.as_ref(), guest, session)),
            Err(error) if error.is_unreachable() && provider.has_lifecycle() => {}
            Err(error) => return Err(guest.explain(error)),
        }
    }
    let guest = Guest::new(vm::ready(config, need)?, describe);
    match guest.open(call) {
        Ok(session) => Ok(checked(provider.as_ref(), guest, session)),
        Err(error) => Err(guest.explain(error)),
    }
}

/// [`open`] for a verb that only answers: its fields.
pub fn ask(
    config: &Config,
    need: Need,
    call: &Call,
    input: &[u8],
) -> anyhow::Result<(Guest, Vec<crate::guest::wire::Field>)> {
    let (guest, mut session) = open(config, need, call)?;
    session.send(input)?;
    let fields = session.fields()?;
    Ok((guest, fields))
}

/// The clock of a VM of ours is set right, that of others' hosts is only talked about.
fn checked(provider: &dyn Provider, guest: Guest, session: Session) -> (Guest, Session) {
    let skew = set_clock(provider, &guest, &session);
    if skew.abs() > clock::NOTICED && !provider.has_lifecycle() {
        ui::warning(&format!("the clock of the {} is {}", guest.describe(), clock::in_words(skew)));
    }
    (guest, session)
}

/// Sets the clock right that a session found wrong, if it is that of a VM of ours. Gives how far it is
/// ahead of ours now, in seconds.
pub fn set_clock(provider: &dyn Provider, guest: &Guest, session: &Session) -> i64 {
    let skew = session.clock_skew();
    if skew.abs() > clock::NOTICED && provider.has_lifecycle() {
        clock::mend(guest, skew)
    } else {
        skew
    }
}
