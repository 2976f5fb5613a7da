//! The address after `agentvm::`, or a whole `agentvm://` URL.

use crate::branch::BranchName;
use crate::config::VmName;
use crate::error::Error;
use crate::sanitize;
use crate::workspace::WorkspaceName;

/// What a URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `agentvm::BRANCH`: the workspace of that branch of this repository.
    Branch(BranchName),
    /// `agentvm://VM/WORKSPACE`: a workspace by the name that `status` shows.
    Workspace(VmName, WorkspaceName),
}

impl Address {
    /// Reads what git passes as a helper's second argument.
    pub fn parse(address: &str) -> Result<Self, Error> {
        if let Some(rest) = address.strip_prefix("agentvm://") {
            let parts = rest.split_once('/').ok_or_else(|| malformed(address))?;
            return match (VmName::new(parts.0), WorkspaceName::new(parts.1)) {
                (Ok(vm), Ok(workspace)) => Ok(Self::Workspace(vm, workspace)),
                _ => Err(malformed(address)),
            };
        }
        if address.is_empty() {
            return Err(Error::usage("agentvm:: names no branch")
                .hint("write agentvm::BRANCH, as in: git push agentvm::feature"));
        }
        BranchName::new(address).map(Self::Branch).map_err(|error| {
            Error::usage(format!("agentvm::{}: {error}", sanitize::text(address))).hint(GRAMMAR)
        })
    }
}

const GRAMMAR: &str = "the address is agentvm::BRANCH or agentvm://VM/WORKSPACE";

fn malformed(address: &str) -> Error {
    Error::usage(format!("'{}' is not an address of a workspace", sanitize::text(address)))
        .hint(GRAMMAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        assert_eq!(
            Address::parse("fix/a").unwrap(),
            Address::Branch(BranchName::new("fix/a").unwrap())
        );
        assert_eq!(
            Address::parse("agentvm://agent-vm/app-fix~0a").unwrap(),
            Address::Workspace(
                VmName::new("agent-vm").unwrap(),
                WorkspaceName::new("app-fix~0a").unwrap()
            )
        );
    }

    #[test]
    fn everything_else_is_refused_with_the_grammar() {
        for bad in [
            "",
            "-x",
            "a b",
            "a\nb",
            "\x1b[m",
            "HEAD",
            "agentvm://",
            "agentvm://vm",
            "agentvm://vm/",
            "agentvm://vm/a/b",
            "agentvm:///x",
            "agentvm://vm/..",
            "@{-1}",
        ] {
            let error = Address::parse(bad).unwrap_err();
            assert!(error.hints()[0].contains("agentvm::BRANCH"), "{bad:?}: {error}");
        }
    }
}
