//! Addresses that may be given in parts, under names of their own.
//! In: nothing. Out: `ADDRESSES`, from which loader and documentation are made.

/// A URL given as host, port and encryption under names of their own.
#[derive(Debug)]
pub struct Address {
    /// The variable that it composes.
    pub target: &'static str,
    /// Names of the host.
    pub host: &'static [&'static str],
    /// Names of the port.
    pub port: &'static [&'static str],
    /// Names of the switch for https.
    pub secure: &'static [&'static str],
    /// Port when none is given.
    pub default_port: u16,
}

/// Every address that may be given in parts.
pub static ADDRESSES: &[Address] = &[
    Address {
        target: "COMFYUI_URL",
        host: &["COMFYUI_HOST"],
        port: &["COMFYUI_PORT", "COMFYUI_BASE_PORT"],
        secure: &["COMFYUI_SECURE"],
        default_port: 8188,
    },
    Address {
        target: "COMFYUI_URL",
        host: &["WORKER_COMFYUI_REMOTE_HOST"],
        port: &["WORKER_COMFYUI_REMOTE_PORT"],
        secure: &["WORKER_COMFYUI_REMOTE_SECURE"],
        default_port: 8188,
    },
    Address {
        target: "COMFYUI_URL",
        host: &["WORKER_COMFYUI_HOST"],
        port: &["WORKER_COMFYUI_PORT"],
        secure: &["WORKER_COMFYUI_USE_SSL"],
        default_port: 8188,
    },
    Address {
        target: "A1111_URL",
        host: &["A1111_HOST", "WORKER_A1111_HOST"],
        port: &["A1111_PORT", "A1111_BASE_PORT", "WORKER_A1111_PORT"],
        secure: &[],
        default_port: 7860,
    },
];
