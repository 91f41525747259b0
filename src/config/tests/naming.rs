//! Names: aliases with their units, contradictions, unknown and retired ones.
//! In: sources. Out: nothing.

use super::{file, from_env, load_env, load_file, pairs, shown};
use crate::config::{MachineStatus, Origin, load};

#[test]
fn aliases_are_converted() {
    let rows: &[(&str, &str, &str, &str)] = &[
        ("REDIS_URL", "redis://r:1", "HUB_REDIS_URL", "redis://r:1"),
        ("WORKER_BASE_ID", "w", "WORKER_ID", "w"),
        ("JOB_POLL_INTERVAL_SECONDS", "5", "POLL_INTERVAL_MS", "5000"),
        ("JOB_POLL_INTERVAL_SECONDS", "1.005", "POLL_INTERVAL_MS", "1005"),
        ("WORKER_POLL_INTERVAL_MS", "2000", "POLL_INTERVAL_MS", "2000"),
        ("WORKER_HEARTBEAT_INTERVAL_MS", "1500", "HEARTBEAT_INTERVAL_SECONDS", "1.5"),
        ("WORKER_HEARTBEAT_INTERVAL", "20", "HEARTBEAT_INTERVAL_SECONDS", "20"),
        ("HEALTH_CHECK_INTERVAL_MS", "30000", "HEALTH_CHECK_INTERVAL_SECONDS", "30"),
        ("WORKER_JOB_TIMEOUT_MINUTES", "60", "JOB_TIMEOUT_MINUTES", "60"),
        ("WORKER_MAX_CONCURRENT_JOBS", "3", "CONCURRENT_JOBS", "3"),
        ("UNIFIED_MACHINE_STATUS", "true", "MACHINE_STATUS", "off"),
        ("UNIFIED_MACHINE_STATUS", "false", "MACHINE_STATUS", "auto"),
        ("WORKER_RAM_GB", "8", "RAM_GB", "8"),
        ("WORKER_GPU_MEMORY_GB", "24", "GPU_MEMORY_GB", "24"),
        ("WORKER_GPU_MODEL", "L4", "GPU_MODEL", "L4"),
        ("WORKER_CUSTOMER_ISOLATION", "strict", "CUSTOMER_ISOLATION", "strict"),
        ("WORKER_REGION", "eu", "REGION", "eu"),
        ("WORKER_COMPLIANCE", "gdpr", "COMPLIANCE_TAGS", "gdpr"),
        ("WORKER_DATA_RESIDENCY", "de", "DATA_LOCALITY", "de"),
        ("WORKER_COST_TIER", "economy", "COST_TIER", "economy"),
        ("WORKER_RATE_PER_HOUR", "1.25", "RATE_PER_HOUR", "1.25"),
        ("WORKER_COMFYUI_USERNAME", "u", "COMFYUI_USERNAME", "u"),
        ("WORKER_COMFYUI_REMOTE_API_KEY", "k", "COMFYUI_API_KEY", "***"),
    ];
    for (alias, text, name, expected) in rows {
        let loaded = load_file(format!("{alias}={text}\n")).unwrap();
        assert_eq!(shown(&loaded, name).0.as_deref(), Some(*expected), "{alias}");
        assert_eq!(loaded.warnings, [], "{alias}");
    }
    let loaded = load_env(&[("UNIFIED_MACHINE_STATUS", "1")]).unwrap();
    assert_eq!(loaded.config.identity.machine_status, MachineStatus::Off);
}

#[test]
fn two_names_may_say_one_thing() {
    for text in [
        "POLL_INTERVAL_MS=5000\nJOB_POLL_INTERVAL_SECONDS=5\n",
        "WORKER_HEARTBEAT_INTERVAL_MS=30000\nHEARTBEAT_INTERVAL_SECONDS=30.0\nWORKER_HEARTBEAT_INTERVAL=30\n",
        "HUB_REDIS_URL=redis://h:1\nREDIS_URL=redis://h:1/\n",
        "CONNECTORS=comfyui\nWORKERS=comfyui:1\n",
        "MACHINE_STATUS=on\nUNIFIED_MACHINE_STATUS=false\n",
        "COMPLIANCE_TAGS=a,b\nWORKER_COMPLIANCE=[\"a\",\"b\"]\n",
        "COMFYUI_URL=http://gpu:8188\nCOMFYUI_HOST=gpu\nCOMFYUI_PORT=8188\nCOMFYUI_SECURE=false\n",
        "COMFYUI_URL=http://127.0.0.1:9000\nCOMFYUI_PORT=9000\n",
        "COMFYUI_URL=http://gpu:9000\nCOMFYUI_HOST=gpu\n",
        "COMFYUI_URL=http://gpu:8188\nCOMFYUI_WS_URL=ws://gpu:8188/ws?clientId=x\n",
    ] {
        let loaded = load_file(text).unwrap_or_else(|report| panic!("{text}: {report}"));
        assert_eq!(loaded.warnings, [], "{text}");
    }
}

#[test]
fn two_names_that_say_two_things_are_a_fault() {
    for (text, first, second) in [
        ("POLL_INTERVAL_MS=5000\nJOB_POLL_INTERVAL_SECONDS=6\n", "POLL_INTERVAL_MS", "JOB_POLL_INTERVAL_SECONDS"),
        (
            "HEARTBEAT_INTERVAL_SECONDS=30\nWORKER_HEARTBEAT_INTERVAL_MS=20000\n",
            "HEARTBEAT_",
            "WORKER_HEARTBEAT_INTERVAL_MS",
        ),
        ("HUB_REDIS_URL=redis://a\nREDIS_URL=redis://b\n", "HUB_REDIS_URL", "REDIS_URL"),
        ("SERVICES=comfyui\nWORKERS=simulation\n", "SERVICES", "WORKERS"),
        ("MACHINE_STATUS=on\nUNIFIED_MACHINE_STATUS=true\n", "MACHINE_STATUS", "UNIFIED_MACHINE_STATUS"),
        ("COMFYUI_URL=http://a:8188\nCOMFYUI_HOST=b\n", "COMFYUI_URL", "COMFYUI_HOST"),
        ("COMFYUI_HOST=a\nWORKER_COMFYUI_REMOTE_HOST=b\n", "COMFYUI_HOST", "WORKER_COMFYUI_REMOTE_HOST"),
        ("COMFYUI_HOST=a\nCOMFYUI_PORT=1\nCOMFYUI_BASE_PORT=2\n", "COMFYUI_PORT", "COMFYUI_BASE_PORT"),
        ("COMFYUI_URL=http://a\nCOMFYUI_WS_URL=ws://b/ws\n", "COMFYUI_URL", "COMFYUI_WS_URL"),
    ] {
        let report = load_file(text).expect_err(text);
        assert_eq!(report.faults.len(), 1, "{report}");
        let fault = report.faults[0].to_string();
        assert!(
            fault.contains(&format!(" {second}")) && fault.contains(first) && fault.contains("keep one"),
            "{fault}"
        );
        assert!(fault.contains("worker.env:"), "{fault}");
    }
}

#[test]
fn across_sources_precedence_decides_between_names() {
    let (_folder, path) = file("HUB_REDIS_URL=redis://file\nPOLL_INTERVAL_MS=1000\n");
    let mut sources = from_env(&[("REDIS_URL", "redis://env"), ("JOB_POLL_INTERVAL_SECONDS", "1")]);
    sources.env_file = Some(path);
    let loaded = load(&sources).unwrap();
    assert_eq!(shown(&loaded, "HUB_REDIS_URL").0.as_deref(), Some("redis://env"));
    assert_eq!(loaded.warnings.len(), 1, "the same value under two names is not worth a word");
    assert!(loaded.warnings[0].to_string().contains("REDIS_URL: overrides HUB_REDIS_URL"), "{}", loaded.warnings[0]);

    sources.flags = pairs(&[("HUB_REDIS_URL", "redis://flag")]);
    let loaded = load(&sources).unwrap();
    assert_eq!(shown(&loaded, "HUB_REDIS_URL"), (Some("redis://flag".into()), "flag".into()));
    assert_eq!(loaded.warnings, []);
}

#[test]
fn wrong_values_of_aliases_are_named_as_written() {
    let report =
        load_file("JOB_POLL_INTERVAL_SECONDS=often\nUNIFIED_MACHINE_STATUS=x\nCOMFYUI_WS_URL=http://x\n").unwrap_err();
    let text = report.to_string();
    assert_eq!(report.faults.len(), 3, "{text}");
    assert!(text.contains("worker.env:1: JOB_POLL_INTERVAL_SECONDS: must be a number, not `often`"), "{text}");
    assert!(text.contains("worker.env:2: UNIFIED_MACHINE_STATUS: must be true or false"), "{text}");
    assert!(text.contains("worker.env:3: COMFYUI_WS_URL: must be an address such as ws://"), "{text}");
}

#[test]
fn unknown_names_in_the_file_are_faults_with_the_nearest() {
    for (name, message) in [
        ("COMFYUI_ULR", "did you mean COMFYUI_URL?"),
        ("worker_id", "did you mean WORKER_ID?"),
        ("REDIS_URI", "did you mean REDIS_URL?"),
        ("HEARTBEAT_INTERVAL", "did you mean WORKER_HEARTBEAT_INTERVAL?"),
        ("OPENAI_APIKEY", "did you mean OPENAI_API_KEY?"),
        ("JOB_TIMEOUT", "did you mean JOB_TIMEOUT_MINUTES?"),
        ("SOMETHING_ELSE_ENTIRELY", "unknown name"),
        ("PATH", "set it in the environment"),
        ("CUDA_VISIBLE_DEVICES", "set it in the environment"),
    ] {
        let report = load_file(format!("{name}=1\n")).unwrap_err();
        let fault = &report.faults[0];
        assert!(fault.message.contains(message), "{fault}");
    }
}

#[test]
fn the_environment_warns_of_near_misses_alone() {
    for (name, meant) in [
        ("COMFYUI_ULR", "COMFYUI_URL"),
        ("WORKERID", "WORKER_ID"),
        ("HUB_REDIS_URLS", "HUB_REDIS_URL"),
        ("LEASE_SECOND", "LEASE_SECONDS"),
        ("HEALTH_CHECK_INTERVALL_SECONDS", "HEALTH_CHECK_INTERVAL_SECONDS"),
    ] {
        let loaded = load_env(&[(name, "1")]).unwrap();
        assert_eq!(loaded.warnings.len(), 1, "{name}");
        assert_eq!(loaded.warnings[0].origin, Origin::Environment);
        assert!(loaded.warnings[0].message.contains(&format!("did you mean {meant}?")), "{}", loaded.warnings[0]);
    }
    for name in [
        "PATH",
        "HOME",
        "LANG",
        "HOSTNAME",
        "USER",
        "SHELL",
        "TERM",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "LOGNAME",
        "MAIL",
        "TZ",
        "_",
        "LC_ALL",
        "EDITOR",
        "PAGER",
        "DISPLAY",
        "TMPDIR",
        "CI",
        "DEBUG",
        "PORT",
        "HOST",
        "SERVICE",
        "WORKER",
        "REGIONS",
        "NODE_VERSION",
        "PYTHON_VERSION",
        "CUDA_VERSION",
        "GOOGLE_REGION",
        "LOG_FILE",
        "LOGLEVEL",
        "RUST_LOG",
        "RUST_BACKTRACE",
        "CARGO_HOME",
        "SSH_AUTH_SOCK",
        "XDG_RUNTIME_DIR",
        "XDG_STATE_HOME",
        "INVOCATION_ID",
        "NOTIFY_SOCKET",
        "STATE_DIRECTORY",
        "JOURNAL_STREAM",
        "CUDA_VISIBLE_DEVICES",
        "NVIDIA_VISIBLE_DEVICES",
        "CPU_COUNT",
        "COMFYUI_HOME",
        "COMFYUI_PATH",
        "COMFYUI_PORT_8188_TCP",
        "REDIS_HOST",
        "REDIS_PORT",
        "REDIS_PASSWORD",
        "DATA_DIR",
        "CACHE_DIR",
        "HF_HOME",
        "HF_TOKEN",
        "RUNPOD_POD_ID",
        "RUNPOD_GPU_COUNT",
        "VAST_CONTAINERLABEL",
        "COST_CENTER",
    ] {
        let loaded = load_env(&[(name, "tcp://1")]).unwrap();
        assert_eq!(loaded.warnings, [], "{name}");
    }
}

#[test]
fn retired_names_are_accepted_with_one_warning() {
    let loaded = load_file("NODE_ENV=production\nHUB_WS_URL=ws://hub\n").unwrap();
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].contains("worker.env:2: HUB_WS_URL: retired, does nothing: the agent speaks"), "{warnings:?}");
    assert!(warnings[1].contains("worker.env:1: NODE_ENV: retired"), "{warnings:?}");
}

#[test]
fn names_of_a_later_release_get_one_warning_together() {
    let loaded =
        load_file("GEMINI_API_KEY=sk-hidden\nGEMINI_NANO_BANANA_URL=http://x\nWORKER_REST_SYNC_METHOD=h\n").unwrap();
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    let expected = "worker.env:1: GEMINI_API_KEY, GEMINI_NANO_BANANA_URL: gemini: no connector for it in this release";
    assert!(warnings.iter().any(|warning| warning.contains(expected)), "{warnings:?}");
}
