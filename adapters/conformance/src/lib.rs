//! One suite that holds all of Peerhold's drivers to the same behaviour, and
//! any that somebody else writes.
//!
//! A driver has sockets, a timer and wake-ups, and [`peerhold_host`] has the
//! rest. What can go wrong in a driver is alike whatever runtime it is for: a
//! timer that is not set again, a socket that is not read on, an end that is
//! not told. Here are the cases in which that shows, over real sockets on
//! loopback and real disks in temporary directories.
//!
//! # To run it
//!
//! In a test of the driver's package, with this package among its
//! `dev-dependencies`: say how a node is opened and run ([`Driver`]), and
//! [`suite!`] makes one test of every case, so that `cargo test` reports and
//! filters them by name. This is all of it:
//!
//! ```
//! # // Stands for somebody's driver: any future will do to show the form.
//! # mod my_driver {
//! #     use std::net::SocketAddr;
//! #     use peerhold_conformance::peerhold_host::{Client, Engine, HostConfig, StartError};
//! #     pub struct Handle(Client);
//! #     impl Handle {
//! #         pub fn client(&self) -> &Client { &self.0 }
//! #         pub fn addrs(&self) -> &[SocketAddr] { &[] }
//! #     }
//! #     pub fn open(config: HostConfig) -> Result<(Handle, Engine), StartError> {
//! #         let (client, engine) = Engine::open(config, Vec::new())?;
//! #         Ok((Handle(client), engine))
//! #     }
//! #     pub fn turn(engine: &mut Engine) -> bool { engine.turn().done }
//! # }
//! use peerhold_conformance::peerhold_host::{HostConfig, StartError};
//! use peerhold_conformance::{Driver, Opened};
//!
//! struct Mine;
//!
//! impl Driver for Mine {
//!     fn open(&self, config: HostConfig) -> Result<Opened, StartError> {
//!         let (handle, mut driver) = my_driver::open(config)?;
//!         let (client, addrs) = (handle.client().clone(), handle.addrs().to_vec());
//!         Ok(Opened::new(client, addrs, move |abandon| {
//!             // A driver that is a loop; one that is a future is raced
//!             // against `abandon`, which is a future too.
//!             while !abandon.is_wished() && !my_driver::turn(&mut driver) {}
//!         }))
//!     }
//! }
//!
//! peerhold_conformance::suite!(Mine);
//! # fn main() {}
//! ```
//!
//! With names behind it the macro makes tests of these cases only, for a
//! second runtime of the same driver, say:
//! `suite!(Mine, [progress_is_waited_for])`.
//!
//! # What it asks of the machine
//!
//! Loopback, some hundred MiB of disk for temporary files, and no privileges.
//! Nothing in it sleeps for a fixed time or asserts how long something takes;
//! a case that hangs fails after two minutes. What only Linux can show (threads
//! and descriptors left behind) says so by name where it cannot run.
//!
//! What the suite does not see: that a driver sleeps when there is nothing to
//! do, and how fast it is. Its package's own tests have what is particular to
//! it, as readers and writers of its runtime.

pub mod abusers;

mod abuse;
mod account;
mod admission;
mod between;
mod driver;
mod ends;
mod files;
mod flow;
mod foreverstore;
mod lab;
mod listing;
mod peers;
mod replay;

pub use driver::{Abandon, Driver, Opened};
pub use lab::{Lab, run};
pub use peerhold_host;

/// Every case, by name: what each shows. [`suite!`] makes tests of them.
pub mod cases {
    pub use crate::abuse::*;
    pub use crate::account::*;
    pub use crate::admission::*;
    pub use crate::ends::*;
    pub use crate::files::*;
    pub use crate::flow::*;
    pub use crate::foreverstore::*;
    pub use crate::listing::*;
    pub use crate::peers::*;
    pub use crate::replay::*;
}

/// Makes a `#[test]` of every case for a driver, given as an expression; or of
/// those alone that are named behind it.
#[macro_export]
macro_rules! suite {
    ($driver:expr, [$($case:ident),* $(,)?]) => {
        $(
            #[test]
            fn $case() {
                let test = concat!(module_path!(), "::", stringify!($case));
                $crate::run($driver, test, $crate::cases::$case);
            }
        )*
    };
    ($driver:expr) => {
        $crate::suite!($driver, [
            // Files.
            files_of_every_size_come_back_from_every_node,
            a_node_by_itself_keeps_files,
            a_client_that_holds_nothing_reads_and_writes,
            a_node_without_workers_does_everything_in_its_turn,
            a_cluster_without_secure_channels_works_on_one_machine,
            ranges_are_cut_at_the_end_and_refused_beyond_it,
            a_file_that_is_larger_than_wanted_is_not_read,
            a_removed_file_is_gone_for_everybody,
            a_shared_file_is_read_with_its_capability_alone,
            a_settled_put_survives_the_writers_forgetting,
            two_hundred_operations_at_once_all_end_well,
            operations_beyond_the_mailbox_are_refused,
            a_put_that_has_to_wait_for_debts_holds_up_no_get,
            a_dropped_put_leaves_the_old_content,
            a_finished_put_takes_no_more_bytes,
            a_dropped_get_ends_and_the_node_goes_on,
            progress_is_waited_for,
            the_blocking_form_works_on_many_threads_at_once,
            the_smallest_buffers_only_make_it_slower,
            a_restarted_node_is_the_same_and_keeps_its_files,
            a_node_that_comes_back_is_met_again,
            // Lists and histories.
            every_node_lists_the_same_files_many_pages_of_them,
            a_list_that_is_not_read_waits_and_holds_up_nobody,
            an_older_version_is_read_and_restored,
            an_outcome_that_nobody_told_is_found_by_the_puts_id,
            with_two_of_three_gone_nobody_says_that_a_put_did_not_happen,
            // Who is slow.
            with_the_smallest_buffers_two_nodes_that_read_from_each_other_both_finish,
            a_reader_that_does_not_read_holds_up_nobody_else,
            a_writer_that_dawdles_holds_up_nobody_else,
            a_peer_that_stops_reading_holds_up_nobody_else,
            a_small_get_does_not_wait_for_a_large_one,
            // Peers, and the way to them.
            a_peer_that_connects_and_says_nothing_is_closed_by_its_deadline,
            a_handshake_that_dribbles_is_ended_by_its_deadline,
            a_peer_that_is_silent_behind_its_channel_is_closed_by_its_deadline,
            whoever_speaks_something_else_gets_an_alert_and_the_end,
            whoever_speaks_an_older_tls_is_refused_and_told_of,
            a_recorded_handshake_played_again_is_refused_and_told_of,
            a_peer_that_is_sent_away_while_it_sends_gets_all_that_was_sent_to_it,
            a_plaintext_peer_is_refused_and_told_of_by_both,
            addresses_that_cannot_be_dialled_are_told_of,
            whoever_comes_takes_the_place_of_who_says_nothing,
            a_deadline_wakes_a_node_to_which_nothing_else_happens,
            a_peer_that_is_half_open_is_given_up_and_met_anew,
            a_peer_that_resets_in_mid_frame_is_met_anew_wherever_that_was,
            what_comes_a_byte_at_a_time_is_understood,
            of_two_that_dial_each_other_at_once_one_session_remains,
            a_peer_that_ends_is_noticed_at_once,
            an_admitted_peer_that_ends_its_own_side_alone_is_let_go_with_its_descriptor,
            one_peer_that_floods_holds_up_nobody_else,
            // Abuse, and ceilings.
            an_honest_peer_is_served_while_all_kinds_of_abusers_are_connected,
            without_descriptors_a_node_waits_and_goes_on_when_there_are_some,
            a_store_that_is_full_refuses_tells_and_recovers,
            bandwidth_is_kept_to,
            limits_that_need_more_descriptors_than_there_may_be_are_refused,
            // Who may come in.
            who_proves_no_cluster_key_is_refused_and_told_of_by_both,
            a_node_that_is_not_the_one_expected_is_not_spoken_to,
            a_denied_node_is_sent_away_at_once_and_comes_back_when_it_is_pardoned,
            cluster_keys_are_rotated_while_nodes_run,
            nodes_join_with_a_ticket_and_nothing_else,
            // The Go program's language, on a port of its own.
            the_go_programs_language_carries_files_in_every_role,
            the_go_programs_language_needs_no_workers,
            a_reader_of_single_reads_has_every_message_whole,
            a_get_asks_on_where_a_peer_is_silent_and_ends_where_all_are,
            a_peer_that_holds_something_else_does_not_count,
            no_link_below_the_second_ports_root_is_followed_for_a_peer,
            a_lost_peer_of_the_go_program_is_dialled_again,
            connections_of_the_second_port_are_limited_and_kept_apart,
            the_second_port_keeps_no_more_bytes_than_it_may,
            the_second_ports_bandwidth_is_kept_to,
            an_end_leaves_nothing_of_the_second_port,
            a_second_port_that_cannot_be_opened_is_said_plainly,
            // Ends.
            a_port_or_directory_in_use_is_said_plainly,
            a_node_that_cannot_be_opened_holds_no_port,
            other_machines_are_not_listened_to_without_a_secure_channel,
            a_node_listens_on_all_of_its_addresses,
            a_shutdown_lets_running_operations_finish_and_takes_no_new_ones,
            a_shutdown_cancels_what_runs_when_its_limit_is_over,
            a_shutdown_waits_for_no_peer_longer_than_it_may,
            dropping_the_last_handle_ends_the_driver,
            a_dropped_driver_ends_pending_calls_and_frees_the_directory,
            a_driver_that_never_ran_frees_the_directory,
            nodes_are_dropped_while_they_send_to_each_other,
            nothing_is_left_after_fifty_starts_and_stops,
            // The same on every driver.
            what_nodes_record_in_a_hundred_scenarios_replays_byte_for_byte,
            one_scenario_comes_to_the_same_on_every_driver,
        ]);

        /// Takes a while.
        #[test]
        #[ignore = "300 MiB; run it by name"]
        fn a_file_of_300_mib_goes_round_in_the_go_programs_language() {
            use $crate::cases::a_file_of_300_mib_goes_round_in_the_go_programs_language as case;
            $crate::run($driver, concat!(module_path!(), "::long"), case);
        }

        /// Takes minutes.
        #[test]
        #[ignore = "1 GiB each way; run it by name"]
        fn with_the_smallest_buffers_two_nodes_that_read_1_gib_from_each_other_both_finish() {
            use $crate::cases::with_the_smallest_buffers_two_nodes_that_read_1_gib_from_each_other_both_finish as case;
            $crate::run($driver, concat!(module_path!(), "::long"), case);
        }
    };
}

#[cfg(test)]
mod tests {
    /// One that is not would never run.
    #[test]
    fn every_case_is_in_the_suite() {
        let suite = include_str!("lib.rs");
        let sources = [
            include_str!("abuse.rs"),
            include_str!("account.rs"),
            include_str!("admission.rs"),
            include_str!("ends.rs"),
            include_str!("files.rs"),
            include_str!("flow.rs"),
            include_str!("foreverstore.rs"),
            include_str!("listing.rs"),
            include_str!("peers.rs"),
            include_str!("replay.rs"),
        ];
        let cases = sources.iter().flat_map(|source| {
            let lines = source
                .lines()
                .filter_map(|line| line.strip_prefix("pub fn "));
            lines.filter_map(|line| line.split_once('(').map(|(name, _)| name))
        });
        let cases: Vec<&str> = cases.collect();
        assert!(cases.len() > 50);
        for case in cases {
            assert!(
                suite.contains(&format!(" {case},\n")) || suite.contains(&format!("fn {case}()")),
                "{case}"
            );
        }
    }
}
