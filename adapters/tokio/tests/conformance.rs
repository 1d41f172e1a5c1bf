//! The suite that all drivers pass: whole on several threads, where a task
//! may be polled by another one each time, and on one thread what differs
//! there.

use peerhold_conformance::peerhold_host::{HostConfig, StartError};
use peerhold_conformance::{Driver, Opened};
use tokio::runtime::Builder;

struct Tokio(fn() -> Builder);

impl Driver for Tokio {
    fn open(&self, config: HostConfig) -> Result<Opened, StartError> {
        let (handle, driver) = peerhold_tokio::open(config)?;
        let (client, addrs) = (handle.client().clone(), handle.addrs().to_vec());
        let threads = self.0;
        Ok(Opened::new(client, addrs, move |abandon| {
            let runtime = threads().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    ended = tokio::spawn(driver) => ended.unwrap().unwrap(),
                    // The runtime is dropped, and its tasks with it.
                    () = abandon => {}
                }
            });
        }))
    }
}

fn several() -> Builder {
    let mut several = Builder::new_multi_thread();
    several.worker_threads(2);
    several
}

mod several_threads {
    peerhold_conformance::suite!(super::Tokio(super::several));
}

mod one_thread {
    peerhold_conformance::suite!(
        super::Tokio(super::Builder::new_current_thread),
        [
            two_hundred_operations_at_once_all_end_well,
            the_blocking_form_works_on_many_threads_at_once,
            with_the_smallest_buffers_two_nodes_that_read_from_each_other_both_finish,
            a_small_get_does_not_wait_for_a_large_one,
            a_peer_that_connects_and_says_nothing_is_closed_by_its_deadline,
            a_deadline_wakes_a_node_to_which_nothing_else_happens,
            a_peer_that_is_half_open_is_given_up_and_met_anew,
            of_two_that_dial_each_other_at_once_one_session_remains,
            a_shutdown_cancels_what_runs_when_its_limit_is_over,
            dropping_the_last_handle_ends_the_driver,
            a_dropped_driver_ends_pending_calls_and_frees_the_directory,
            nodes_are_dropped_while_they_send_to_each_other,
            one_scenario_comes_to_the_same_on_every_driver,
        ]
    );
}
