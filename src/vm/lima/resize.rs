//! Changing cpus, memory and disk of a VM that exists.

use std::time::Duration;

use super::Lima;
use super::limactl::Instance;
use crate::error::Error;
use crate::ui;
use crate::vm::{Provider as _, Resources, State};

impl Lima {
    /// Gives an instance what was asked for, as far as it can be. Whether that changed it.
    pub(super) fn set_resources(
        &self,
        instance: &Instance,
        asked: Resources,
    ) -> anyhow::Result<bool> {
        let mut flags: Vec<String> = Vec::new();
        let mut changes: Vec<String> = Vec::new();
        if let Some(cpus) = asked.cpus.filter(|&cpus| instance.cpus != Some(cpus)) {
            flags.push(format!("--cpus={cpus}"));
            changes.push(format!("--cpus {cpus}"));
        }
        if let Some(memory) = asked.memory.filter(|&memory| instance.memory != Some(memory)) {
            flags.push(format!("--memory={}", gibibytes(memory)));
            changes.push(format!("--memory {}", gibibytes(memory)));
        }
        if let Some(disk) = asked.disk.filter(|&disk| instance.disk != Some(disk)) {
            if let Some(now) = instance.disk.filter(|&now| disk < now) {
                return Err(Error::usage(format!(
                    "the disk of the {} has {} and cannot shrink to {}",
                    self.describe(),
                    ui::size(now),
                    ui::size(disk)
                ))
                .hint("a smaller disk needs a new VM: git agent-vm destroy, then git agent-vm start --disk SIZE")
                .into());
            }
            flags.push(format!("--disk={}", gibibytes(disk)));
            changes.push(format!("--disk {}", gibibytes(disk)));
        }
        if flags.is_empty() {
            return Ok(false);
        }
        if self.state_of(instance, self.files.load()?.as_ref()) != State::Stopped {
            ui::warning(&format!(
                "the {} runs with {}: that cannot change before it is stopped",
                self.describe(),
                shown(instance.cpus, instance.memory, instance.disk)
            ));
            ui::hint(&format!("git agent-vm stop && git agent-vm start {}", changes.join(" ")));
            return Ok(false);
        }
        let cmd = self
            .limactl
            .command()
            .arg("edit")
            .args(&flags)
            .arg(self.name.as_str())
            // Lima leaves a rejected configuration in the directory it runs in.
            .current_dir(self.files.dir());
        let output = self.limactl.finish(cmd, Duration::from_secs(60))?;
        anyhow::ensure!(
            output.exit.success(),
            "cannot change the {}: {}",
            self.describe(),
            super::limactl::messages(&output.stderr)
        );
        Ok(true)
    }
}

/// `2 cpus, 4.00 GiB memory, 100.00 GiB disk`.
pub(super) fn shown(cpus: Option<u32>, memory: Option<u64>, disk: Option<u64>) -> String {
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "?".into(), ui::size);
    let cpus = cpus.map_or_else(|| "?".into(), |cpus| cpus.to_string());
    format!("{cpus} cpus, {} memory, {} disk", size(memory), size(disk))
}

/// A size as limactl's flags take it: GiB, as a decimal number.
fn gibibytes(bytes: u64) -> String {
    let mib = bytes >> 20;
    let (whole, part) = (mib / 1024, mib % 1024);
    if part == 0 {
        return whole.to_string();
    }
    // 1/1024 has ten decimal places.
    let decimals = format!("{:010}", part * 9_765_625);
    format!("{whole}.{}", decimals.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::gibibytes;

    #[test]
    fn sizes_are_exact_decimals() {
        assert_eq!(gibibytes(8 << 30), "8");
        assert_eq!(gibibytes(3 << 29), "1.5");
        assert_eq!(gibibytes((1 << 30) + (1 << 20)), "1.0009765625");
        assert_eq!(gibibytes(1280 << 20), "1.25");
    }
}
