//! The VM in which images are built where the host cannot: made for one build and deleted with it. It
//! has a name that no other VM can have, and a record that says what it is.

use rustix::process::Signal;

use super::limactl::{Instance, Listed};
use super::record::Purpose;
use super::{Lima, host_key_of, processes};
use crate::config::{Config, VmName};
use crate::error::Error;

impl Lima {
    /// The VM for a build. It has the image of the settings or Debian's own, never one that was built
    /// here: a damaged one could then not be built anew.
    pub(crate) fn builder(config: &Config) -> anyhow::Result<Self> {
        let config = Config { vm: VmName::of_builder(), ..config.clone() };
        Ok(Self { purpose: Purpose::Build, ..Self::new(&config)? })
    }

    /// Takes away what there is of it: at the end of a build, or what one that was killed has left. To
    /// be called with the lock of the images, so that nobody is using it. A VM that happens to have its
    /// name is an error, and left alone.
    pub(crate) fn take_away(&self) -> anyhow::Result<()> {
        let _lock = self.lock("deleting")?;
        let Some(record) = self.files.load()? else {
            return if self.instance_dir().exists() { Err(self.no_builder()) } else { Ok(()) };
        };
        if record.purpose != Purpose::Build {
            return Err(self.no_builder());
        }
        if record.lima_home != self.limactl.home() {
            if !record.lima_home.join(self.name.as_str()).exists() {
                return self.files.forget();
            }
            let home = record.lima_home.display();
            return Err(Error::failed(format!("a {} was left in {home}", self.describe_builder()))
                .hint(format!(
                    "git agent-vm image build takes it away where LIMA_HOME is {home}; after that, it builds anywhere"
                ))
                .into());
        }
        if !self.instance_dir().exists() {
            return self.files.forget();
        }
        if let Listed::Found(instance) = self.limactl.list(self.name.as_str())?
            && !self.made(&instance)
        {
            return Err(self.no_builder());
        }
        if record.finished {
            return self.remove();
        }
        let held = processes::holding(&self.instance_dir());
        processes::end(&held, Signal::KILL);
        self.clear_leftovers()?;
        self.files.forget()
    }

    /// Whether an instance has the host key that was made for it. One whose configuration cannot be
    /// read is known by the record alone.
    fn made(&self, instance: &Instance) -> bool {
        instance.config.is_none()
            || host_key_of(instance).is_some_and(|key| self.files.host_key() == Some(key))
    }

    /// An instance that stands where the builder's would be.
    pub(super) fn no_builder(&self) -> anyhow::Error {
        let (name, dir) = (&self.name, self.instance_dir());
        Error::failed(format!(
            "an image is built in a VM '{name}', and Lima has one of that name that was not made for it: {}",
            dir.display()
        ))
        .hint(format!("limactl rename {name} ANOTHER-NAME, or limactl delete {name} if nothing in it is needed"))
        .into()
    }

    fn describe_builder(&self) -> String {
        format!("VM '{}' of an earlier git agent-vm image build", self.name)
    }
}
