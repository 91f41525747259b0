//! Slots: which engine goes with which GPU.
//! In: GPUs, engines, concurrency. Out: failures.

use super::*;

fn gpus(n: u32) -> Vec<GpuFacts> {
    (0..n)
        .map(|index| GpuFacts { index, memory_gb: 24.0, model: "RTX 4090".into(), uuid: format!("GPU-{index}") })
        .collect()
}

fn engine(name: &str, urls: usize, gpus: Option<&[u32]>) -> EngineSites {
    EngineSites {
        name: name.into(),
        urls,
        gpus: gpus.map(<[u32]>::to_vec),
        needs_gpu: name != "simulation",
        jobs: None,
    }
}

/// `gpu:engine url,engine url` for each slot.
fn drawn(plan: &SlotPlan) -> Vec<String> {
    let slot = |slot: &Slot| {
        let gpu = slot.gpu.map_or("-".to_owned(), |gpu| gpu.to_string());
        let engines: Vec<_> = slot.engines.iter().map(|e| format!("{} {}", e.name, e.url)).collect();
        format!("{gpu}: {}", engines.join(", "))
    };
    plan.slots.iter().map(slot).collect()
}

#[test]
fn the_nth_url_goes_with_the_nth_gpu() {
    for (what, count, engines, jobs, slots, notes) in [
        ("one of each", 1, vec![engine("comfyui", 1, None)], 1, vec!["0: comfyui 0"], vec![]),
        (
            "two engines on each GPU",
            2,
            vec![engine("comfyui", 2, None), engine("a1111", 2, None)],
            1,
            vec!["0: comfyui 0, a1111 0", "1: comfyui 1, a1111 1"],
            vec![],
        ),
        (
            "a single URL goes with GPU 0, and the other GPU is idle",
            2,
            vec![engine("comfyui", 1, None), engine("simulation", 1, None)],
            1,
            vec!["0: comfyui 0, simulation 0"],
            vec!["GPU 1 has no engine and gets no jobs"],
        ),
        (
            "an explicit list overrides",
            2,
            vec![engine("comfyui", 2, Some(&[1, 0]))],
            1,
            vec!["0: comfyui 1", "1: comfyui 0"],
            vec![],
        ),
        (
            "more URLs than GPUs",
            1,
            vec![engine("comfyui", 2, None)],
            1,
            vec!["0: comfyui 0", "-: comfyui 1"],
            vec!["there is no GPU for URL 2 of comfyui: it runs jobs that need none"],
        ),
        (
            "no GPU at all",
            0,
            vec![engine("comfyui", 2, None), engine("a1111", 1, None)],
            1,
            vec!["-: comfyui 0, a1111 0", "-: comfyui 1"],
            vec![
                "there is no GPU for URL 1 of comfyui: it runs jobs that need none",
                "there is no GPU for URL 2 of comfyui: it runs jobs that need none",
                "there is no GPU for URL 1 of a1111: it runs jobs that need none",
            ],
        ),
        (
            "a list that names a GPU which is not there",
            1,
            vec![engine("comfyui", 1, Some(&[3]))],
            1,
            vec!["-: comfyui 0"],
            vec![
                "URL 1 of comfyui is for GPU 3, which is not there: it runs jobs that need none",
                "GPU 0 has no engine and gets no jobs",
            ],
        ),
        (
            "a list longer and a list shorter than the URLs",
            2,
            vec![engine("comfyui", 1, Some(&[0, 1])), engine("a1111", 2, Some(&[1]))],
            1,
            vec!["0: comfyui 0", "1: a1111 0", "-: a1111 1"],
            vec![
                "comfyui lists 2 GPUs for 1 URLs: the last ones have no meaning",
                "there is no GPU for URL 2 of a1111: it runs jobs that need none",
            ],
        ),
        (
            "jobs at once share the URLs of one GPU in turn",
            1,
            vec![engine("comfyui", 2, Some(&[0, 0])), engine("simulation", 1, None)],
            3,
            vec!["0: comfyui 0, simulation 0", "0: comfyui 1, simulation 0", "0: comfyui 0, simulation 0"],
            vec![],
        ),
        (
            "two URLs on one GPU and one job at once",
            1,
            vec![engine("comfyui", 2, Some(&[0, 0]))],
            1,
            vec!["0: comfyui 0"],
            vec!["URL 2 of comfyui shares a GPU that runs fewer jobs at once than it has URLs: it is not used"],
        ),
        (
            "the simulation alone uses every GPU",
            2,
            vec![engine("simulation", 1, None)],
            1,
            vec!["0: simulation 0", "1: simulation 0"],
            vec![],
        ),
        (
            "the simulation alone without a GPU",
            0,
            vec![engine("simulation", 1, None)],
            1,
            vec!["-: simulation 0"],
            vec![],
        ),
        (
            "an engine without URLs is not there",
            2,
            vec![engine("comfyui", 0, None), engine("simulation", 1, None)],
            1,
            vec!["0: simulation 0", "1: simulation 0"],
            vec![],
        ),
        ("no engine", 2, vec![], 1, vec![], vec!["no engine is configured: nothing can run"]),
        ("no jobs at once is one", 1, vec![engine("comfyui", 1, None)], 0, vec!["0: comfyui 0"], vec![]),
    ] {
        let plan = plan_slots(&gpus(count), &engines, jobs, Crew::Fixed);
        assert_eq!(drawn(&plan), slots, "{what}");
        let told: Vec<_> = plan.notes.iter().map(ToString::to_string).collect();
        assert_eq!(told, notes, "{what}");
    }
}

#[test]
fn only_several_slots_have_numbers_behind_their_id() {
    let ids = |count, jobs| {
        let plan = plan_slots(&gpus(count), &[engine("simulation", 1, None)], jobs, Crew::Fixed);
        plan.slots.iter().map(|slot| slot.worker_id("box")).collect::<Vec<_>>()
    };
    assert_eq!(ids(1, 1), ["box"]);
    assert_eq!(ids(0, 2), ["box-0", "box-1"]);
    assert_eq!(ids(2, 2), ["box-0", "box-1", "box-2", "box-3"]);
}

#[test]
fn gpus_are_found_by_their_number_not_by_their_place() {
    let mut given = gpus(2);
    given[0].index = 4;
    given[1].index = 7;
    let plan = plan_slots(&given, &[engine("comfyui", 1, Some(&[7]))], 1, Crew::Fixed);
    assert_eq!(drawn(&plan), ["1: comfyui 0"]);
    assert_eq!(plan.notes, [SlotNote::IdleGpu { index: 4 }]);
}

#[test]
fn an_engine_with_a_number_of_its_own_has_slots_of_its_own() {
    let texts = |urls, gpus: Option<&[u32]>| EngineSites {
        needs_gpu: gpus.is_some(),
        jobs: Some(3),
        ..engine("openai", urls, gpus)
    };
    let names = |plan: &SlotPlan| {
        let slot = |slot: &Slot| {
            let engines: Vec<_> = slot.engines.iter().map(|engine| format!("{}{}", engine.name, engine.url)).collect();
            format!("{:?} {}", slot.gpu, engines.join(" "))
        };
        plan.slots.iter().map(slot).collect::<Vec<_>>()
    };
    // Elsewhere: beside the slots of the GPUs.
    let plan = plan_slots(&gpus(2), &[engine("comfyui", 2, None), texts(1, None)], 1, Crew::Fixed);
    let elsewhere = ["Some(0) comfyui0", "Some(1) comfyui1", "None openai0", "None openai0", "None openai0"];
    assert_eq!((names(&plan), plan.notes.len()), (elsewhere.map(str::to_owned).into(), 0));
    // Alone: GPUs of this machine are none of its business.
    let plan = plan_slots(&gpus(1), &[texts(2, None)], 1, Crew::Fixed);
    assert_eq!(plan.slots.len(), 6);
    assert!(plan.slots.iter().all(|slot| slot.gpu.is_none() && slot.worker_suffix == Some(slot.index)));
    // On a GPU that it shares with an engine that does one thing at a time.
    let plan = plan_slots(&gpus(1), &[engine("comfyui", 1, None), texts(1, Some(&[0]))], 1, Crew::Fixed);
    assert_eq!(names(&plan), ["Some(0) comfyui0 openai0", "Some(0) openai0", "Some(0) openai0"]);
    // Its slots stay the same ones while engines that are files come and go.
    let plan = plan_slots(&gpus(1), &[texts(1, None)], 1, Crew::Changing);
    assert_eq!(names(&plan), ["Some(0) ", "None openai0", "None openai0", "None openai0"]);
    let plan = plan_slots(&gpus(1), &[texts(1, None), engine("simulation", 1, None)], 1, Crew::Changing);
    assert_eq!(names(&plan), ["Some(0) simulation0", "None openai0", "None openai0", "None openai0"]);
}

#[test]
fn where_engines_come_and_go_the_slots_stay_the_same_ones() {
    let planned = |count, engines: &[EngineSites]| drawn(&plan_slots(&gpus(count), engines, 1, Crew::Changing));
    let (comfyui, simulation) = (engine("comfyui", 1, None), engine("simulation", 1, None));
    assert_eq!(planned(2, &[]), ["0: ", "1: "]);
    assert_eq!(planned(0, &[]), ["-: "]);
    assert_eq!(planned(0, std::slice::from_ref(&comfyui)), ["-: comfyui 0"]);
    assert_eq!(planned(2, std::slice::from_ref(&simulation)), ["0: simulation 0", "1: simulation 0"]);
    // An idle GPU serves as much as it does in a fixed crew: nothing.
    assert_eq!(planned(2, &[comfyui, simulation]), ["0: comfyui 0, simulation 0", "1: "]);
}
