//! A shell that stays: what a round does beside the product costs no new `sudo` and no new shell.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use crate::support::{Lab, Run};

/// Begins the line that ends what a script says.
const END: u8 = 1;
/// A script that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) struct Shell {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<Vec<u8>>,
}

impl Shell {
    /// `run` is a shell that reads its standard input.
    pub(crate) fn new(run: &Run) -> Self {
        let mut command = run.command(Vec::new());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("a shell can be started");
        let mut output = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            loop {
                let mut line = Vec::new();
                if !output.read_until(b'\n', &mut line).is_ok_and(|count| count > 0)
                    || sender.send(line).is_err()
                {
                    return;
                }
            }
        });
        Self { input: child.stdin.take(), child, lines }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Runs a line in the shell itself, so that what it sets stays.
    pub(crate) fn set(&mut self, line: &str) {
        let input = self.input.as_mut().expect("the shell's input is open until it goes");
        writeln!(input, "{line}").expect("the shell reads");
    }

    /// Runs a script in a subshell; what it says on both streams, and its exit code.
    pub(crate) fn try_run(&mut self, script: &str) -> (String, i32) {
        self.start(script);
        self.finish()
    }

    /// The same of a script that must not fail.
    pub(crate) fn run(&mut self, script: &str) -> String {
        let (said, code) = self.try_run(script);
        assert!(code == 0, "exit code {code} of: {script}\nit said: {said}");
        said
    }

    /// Waits until no process of this lab's guest runs any more.
    pub(crate) fn wait_for_the_guest(&mut self, lab: &Lab) {
        let mark = lab.path().join("guest/of the guest");
        let (said, code) = self.try_run(&format!(
            "quiet=0
            for try in $(seq 3000); do
                # A process that is just becoming another program shows no environment.
                if pids=$(grep -lzsxF 'AGENTVM_LAB={}' /proc/[0-9]*/environ); then quiet=0
                else quiet=$((quiet + 1)); [ $quiet -lt 2 ] || exit 0; fi
                sleep 0.01
            done
            for file in $pids; do tr '\\0' ' ' <\"${{file%environ}}cmdline\" | cut -c1-200; echo; done; exit 1",
            mark.display()
        ));
        assert!(code == 0, "the guest's processes do not end: {said}");
    }

    /// Starts a script and goes on; [`Shell::finish`] has what it said.
    pub(crate) fn start(&mut self, script: &str) {
        let input = self.input.as_mut().expect("the shell's input is open until it goes");
        write!(input, "(\n{script}\n) 2>&1 </dev/null; printf '\\n\\001%s\\n' \"$?\"\n")
            .and_then(|()| input.flush())
            .expect("the shell reads");
    }

    pub(crate) fn finish(&mut self) -> (String, i32) {
        let mut said = Vec::new();
        loop {
            let line = self.lines.recv_timeout(LIMIT).unwrap_or_else(|_| {
                panic!("a script does not end; it said: {}", String::from_utf8_lossy(&said))
            });
            if let [END, code @ ..] = line.as_slice() {
                let code = String::from_utf8_lossy(code).trim().parse().expect("an exit code");
                // The line end before the mark is ours.
                said.pop();
                return (String::from_utf8_lossy(&said).into_owned(), code);
            }
            said.extend(line);
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.input.take());
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
