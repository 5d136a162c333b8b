//! The ways of attaching programs to a device, and which of them the configuration allows.

use std::fmt;

use agent_ebpf::Layer;

use crate::interfaces::Interface;

/// How programs are to be attached, as the configuration says.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttachMode {
    /// XDP in the driver where nobody else has it and the driver can, else TC.
    #[default]
    Auto,
    /// XDP in the driver; TC where somebody else has XDP.
    Xdp,
    /// XDP in the stack; TC where somebody else has XDP.
    XdpGeneric,
    /// TC.
    Tc,
}

/// Which of the kernel's two ways of attaching TC programs is used.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TcHook {
    /// TCX where the kernel has it, else clsact.
    #[default]
    Auto,
    /// TCX (Linux 6.6).
    Tcx,
    /// A filter at the clsact qdisc.
    Clsact,
}

/// A way of attaching.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Method {
    /// XDP in the driver.
    Xdp,
    /// XDP in the stack.
    XdpGeneric,
    /// TC, first of the TCX programs.
    Tcx,
    /// TC, first of the filters at clsact where those leave room.
    Clsact,
}

impl Method {
    /// The word that listings use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::XdpGeneric => "xdp-generic",
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }

    /// Whether it is one of XDP's, of which a device has one at a time.
    pub(super) fn is_xdp(self) -> bool {
        matches!(self, Self::Xdp | Self::XdpGeneric)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The ways to try on a device, in this order; `present` is the one by which ours is attached there.
pub(crate) fn ways(
    interface: &Interface,
    how: AttachMode,
    hook: TcHook,
    present: Option<Method>,
) -> Vec<Method> {
    let xdp = match how {
        AttachMode::Auto | AttachMode::Xdp => Some(Method::Xdp),
        AttachMode::XdpGeneric => Some(Method::XdpGeneric),
        AttachMode::Tc => None,
    };
    let tc: &[Method] = match hook {
        TcHook::Auto => &[Method::Tcx, Method::Clsact],
        TcHook::Tcx => &[Method::Tcx],
        TcHook::Clsact => &[Method::Clsact],
    };
    let foreign = interface.xdp.is_some() && !present.is_some_and(Method::is_xdp);
    match (xdp, how) {
        // The kernel would let us replace another's program on some paths, so do not even ask.
        (Some(_), _) if foreign || interface.layer == Layer::Ip => tc.to_vec(),
        (Some(xdp), AttachMode::Auto) => [&[xdp], tc].concat(),
        (Some(xdp), _) => vec![xdp],
        (None, _) => tc.to_vec(),
    }
}
