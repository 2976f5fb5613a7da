//! The files of a worktree here into a workspace, as changes that are not committed there: all of
//! them or none.

use std::time::Duration;

use crate::access;
use crate::config::Config;
use crate::guest;
use crate::guest::workspaces::{Target, single};
use crate::sanitize::GuestText;
use crate::ui;
use crate::vm::Need;
use crate::wip::local::Local;

/// How long the guest may take to put the files in their places and onto its disk.
const LIMIT: Duration = Duration::from_secs(900);

/// Carries what is not committed here into a workspace whose HEAD is the same; gives its name.
pub fn carry(config: &Config, target: &Target, local: &Local) -> anyhow::Result<GuestText> {
    let Some(commit) = &local.commit else { anyhow::bail!("there is nothing to carry") };
    let what = format!("carrying {} to the workspace", ui::count(local.files, "file"));
    let _progress = ui::Progress::start(&what);
    let call = target.call("apply").arg(local.head.as_str()).arg(commit.as_str());
    let (_, mut session) = access::open(config, Need::Start, &call)?;
    session.set_patience(guest::time_limit(LIMIT));
    session.show_messages();
    // A guest that has refused stops reading; why, it says in its fields.
    let sent = session.send_by(|pipe| local.write_pack(pipe));
    let fields = session.fields();
    sent?;
    single(fields?, "workspace")
        .ok_or_else(|| anyhow::anyhow!("the guest does not say what became of the files"))
}
