//! Every recording of AUTOMATIC1111, and the test that holds the connector against what it shows.
//! In: `stand-ins/tests/recordings`. Out: one test that none is left out, and that every test that is named exists.
//!
//! The pictures were cut out of these recordings, and a run is nothing but its answer with the pictures in it: none can
//! be played to the connector as it stands. The stand-in is held against each of them, step by step
//! (`stand-ins/tests/it/a1111`), and the connector runs on the stand-in.

use std::collections::BTreeSet;

const ALL: &[(&str, &str)] = &[
    ("api-auth", "hazards::credentials_are_sent_and_wrong_ones_are_this_boxs_fault"),
    ("checkpoint-override", "hazards::the_checkpoint_is_switched_once_and_verified"),
    ("errors-no-checkpoint", "refusals::classes_and_texts_decide"),
    ("failed-task-looks-active", "hazards::a_failed_task_that_looks_active_is_not_taken_for_a_run"),
    ("generate-no-checkpoint", "hazards::a_task_that_failed_before_it_started_stays_queued_and_is_not_waited_for"),
    ("info-no-checkpoint", "probe::a_server_without_any_checkpoint_takes_no_work"),
    ("info-nowebui", "hazards::without_the_web_page_runs_are_followed_by_the_global_state_and_cancelled"),
    ("info-with-checkpoint", "probe::models_are_listed_by_file_and_the_version_is_known_from_the_first_result_on"),
    ("interrupt-hits-whatever-runs", "hazards::an_interrupt_never_hits_somebody_elses_run"),
    ("interrupt-running", "hazards::an_interrupted_run_is_thrown_away_though_it_answers_200"),
    ("many-waiting-requests-starve-the-api", "hazards::one_request_is_sent_at_a_time"),
    ("nowebui-run", "hazards::without_the_web_page_runs_are_followed_by_the_global_state_and_cancelled"),
    ("options-wait-for-running-job", "hazards::one_request_is_sent_at_a_time"),
    ("override-settings-leak", "hazards::overridden_options_do_not_leak_into_later_jobs"),
    ("params-leniency", "hazards::unknown_names_are_refused_though_the_server_would_replace_them"),
    ("progress-with-preview", "previews::pictures_of_our_own_task_are_shown_if_the_job_asks"),
    ("queue-and-disconnect", "trouble::a_run_whose_connection_breaks_is_stopped_before_the_next"),
    // What it rescues needs settings of the server that no job may change.
    ("saved-file-recovery", "hazards::options_that_decide_where_files_go_are_not_a_jobs_business"),
    ("saved-images-and-grid", "hazards::a_grid_before_the_pictures_is_thrown_away"),
    ("server-killed-mid-run", "trouble::a_server_that_dies_in_mid_run_ends_the_run"),
    ("server-sigterm-mid-run", "trouble::a_server_that_dies_in_mid_run_ends_the_run"),
    ("skip-running", "hazards::a_skipped_run_is_thrown_away_though_it_answers_200"),
    ("tools-without-model", "names::pictures_are_upscaled_alone_and_in_batches"),
    ("txt2img-success", "names::txt2img_gives_pictures_seeds_and_infotext"),
];

#[test]
fn each_recording_has_its_test() {
    let root = env!("CARGO_MANIFEST_DIR");
    let files = std::fs::read_dir(format!("{root}/../stand-ins/tests/recordings/a1111-1.10.1")).unwrap().flatten();
    let files: BTreeSet<String> = files.map(|file| file.file_name().to_string_lossy().replace(".json", "")).collect();
    assert_eq!(files, ALL.iter().map(|(name, _)| (*name).to_owned()).collect());
    assert_eq!(files.len(), ALL.len(), "each once");
    for (name, test) in ALL {
        let (module, function) = test.split_once("::").unwrap();
        let source = std::fs::read_to_string(format!("{root}/tests/it/a1111/{module}.rs")).unwrap();
        assert!(source.contains(&format!("fn {function}(")), "{name}: {test} does not exist");
    }
}
