"""Files, locks, raw groups and checksums: what a kill, a race or a bad disk may leave."""

from __future__ import annotations

from tests.sabotage.run import Sabotage

ATOMIC = "harvester/storage/backends/atomic_files.py"
COVERAGE = "harvester/tables/coverage.py"
DERIVED = "harvester/storage/derived/derived_files.py"
FLOCK = "harvester/storage/backends/flock.py"
FOOTER = "harvester/storage/footer.py"
INDEX = "harvester/storage/footer_index.py"
INTEGRITY = "harvester/storage/integrity_check.py"
FOLDING = "harvester/storage/state/change_folding.py"
LOCAL = "harvester/storage/backends/local.py"
ANSWERS = "harvester/storage/backends/object_answers.py"
OBJECTS = "harvester/storage/backends/object_store.py"
PIPELINE = "harvester/engine/pipeline.py"
PUBLISH = "harvester/storage/publish.py"
QUEUE = "harvester/engine/publish_queue.py"
RAW_LOG = "harvester/storage/raw_log.py"
RECORDS = "harvester/storage/state/record_folding.py"
READER = "harvester/storage/partition_reader.py"
REGULAR = "harvester/storage/backends/regular_files.py"
WRITER = "harvester/storage/partition_writer.py"

OF_INDEX = "tests/storage/test_footer_index.py"

SABOTAGES = (
    Sabotage(
        "index-of-another-version-believed",
        INDEX,
        "and self.contents[file.name][0] == file.version",
        "and file.version",
        f"{OF_INDEX}::test_a_file_that_was_replaced_is_read_itself",
    ),
    Sabotage(
        "seal-of-the-index-unchecked",
        INDEX,
        "if (*versions,) != _versions() or seal != _seal(length, rest):",
        "if (*versions,) != _versions():",
        f"{OF_INDEX}::test_any_flipped_bit_of_an_index",
    ),
    Sabotage(
        "month-of-the-index-unchecked",
        INDEX,
        "if known.month != left[name][0].month:",
        "if False:",
        f"{OF_INDEX}::test_a_planted_payload_of_another_month",
    ),
    Sabotage(
        "index-written-by-readers",
        INDEX,
        "if bucket in tree.held and (is_behind or left):",
        "if is_behind or left:",
        f"{OF_INDEX}::test_a_reader_writes_no_index",
    ),
    Sabotage(
        "index-written-without-a-lease",
        INDEX,
        "if tree.hold.is_good():",
        "if tree.hold:",
        f"{OF_INDEX}::test_a_run_that_lost_its_lease_writes_no_index",
    ),
    Sabotage(
        "index-keeps-what-is-forgotten",
        "harvester/verbs/forget.py",
        "footer_index.renew(erasing.tree, erasing.manifest.datasets, erasing.buckets)",
        "pass",
        "tests/verbs/test_index_of_footers.py::test_forget_erases_the_account",
    ),
    Sabotage(
        "heads-of-the-month-lost",
        RECORDS,
        "heads = by_run(old.data) if old else {}",
        "heads: dict[str, Any] = {}",
        "tests/storage/state/test_record_folding.py::test_few_files_stay_and_no_head_is_lost",
    ),
    Sabotage(
        "records-deleted-newest-first",
        RECORDS,
        "for file, _ in found:",
        "for file, _ in reversed(found):",
        "tests/storage/state/test_record_folding.py::test_a_killed_fold_is_finished_by_the_next",
    ),
    Sabotage(
        "file-not-flushed",
        ATOMIC,
        "sync(temp)",
        "pass",
        "tests/storage/backends/test_atomic_files.py::test_a_file_is_whole_and_on_the_disk_before_it_has_its_name",
    ),
    Sabotage(
        "folder-not-flushed",
        ATOMIC,
        "sync(final.parent)",
        "pass",
        "tests/storage/backends/test_atomic_files.py::test_a_file_is_whole_and_on_the_disk_before_it_has_its_name",
    ),
    Sabotage(
        "new-folder-not-flushed",
        ATOMIC,
        "sync(folder.parent)",
        "pass",
        "tests/storage/backends/test_atomic_files.py::test_a_file_is_whole_and_on_the_disk_before_it_has_its_name",
    ),
    Sabotage(
        "folder-not-flushed-after-delete",
        LOCAL,
        "atomic_files.sync(path.parent)",
        "pass",
        "tests/storage/backends/test_power_cut.py::test_a_file_that_was_deleted_does_not_come_back",
    ),
    Sabotage(
        "raw-group-not-flushed",
        LOCAL,
        "self._write(name, data)",
        "(atomic_files.make_folder(self.path(name).parent), self.path(name).write_bytes(data))",
        "tests/storage/backends/test_power_cut.py::test_every_state_that_a_power_cut_may_leave",
    ),
    Sabotage(
        "group-deleted-too-early",
        QUEUE,
        "if not needed]",
        "if True]",
        "tests/engine/test_publish_queue.py::test_a_long_round_is_recorded_meanwhile",
    ),
    Sabotage(
        "group-deleted-before-the-journal",
        QUEUE,
        "        if self._round:",
        "        if [raw_log.delete(self.tree, each) for each in self._unpublished]"
        " and self._round:",
        "tests/engine/test_publish_queue.py::test_a_group_stands_until_its_publication_is_recorded",
    ),
    Sabotage(
        "recovered-group-deleted-before-the-journal",
        PUBLISH,
        "tell(publish(tree, datasets[name], partition, part, TrustedTimes(now)))",
        "done = publish(tree, datasets[name], partition, part, TrustedTimes(now));"
        " [raw_log.delete(tree, group) for group in part]; tell(done)",
        "tests/storage/test_publish.py::test_recovered_groups_stand_until_every_publication_is_recorded",
    ),
    Sabotage(
        "publish-before-the-log",
        PIPELINE,
        "await self._writer.append(attempt, answer)",
        "self.scheduler.durable(attempt); await self._writer.append(attempt, answer)",
        "tests/scheduling/test_months_are_published_once.py::test_a_month_is_published_while_older_ones_are_asked",
    ),
    Sabotage(
        "publishers-exception-swallowed",
        QUEUE,
        "await self._publish(self._queue.popleft())",
        'with __import__("contextlib").suppress(Exception):'
        " await self._publish(self._queue.popleft())",
        "tests/engine/test_publish_queue.py::test_what_was_published_before_an_error_is_recorded",
    ),
    Sabotage(
        "no-recovery",
        PUBLISH,
        "if groups:",
        "if groups.clear():",
        "tests/storage/test_publish.py::test_recovering",
    ),
    Sabotage(
        "files-of-a-killed-fold-stay",
        FOLDING,
        "        if each.file.name not in names:",
        "        if False:",
        "tests/storage/state/test_change_log.py::test_a_fold_that_is_killed_is_finished_by_the_next",
    ),
    Sabotage(
        "no-read-back",
        WRITER,
        "_validate(new, expected)",
        "pass",
        "tests/storage/test_partitions.py::test_what_reads_back_differently_is_refused",
    ),
    Sabotage(
        "data-file-not-marked",
        WRITER,
        "with flock.in_progress(new.temp),",
        "with flock.in_progress(new.temp.with_suffix('.mark')),",
        "tests/storage/test_partitions.py::test_a_data_file_is_marked_while_it_is_written",
    ),
    Sabotage(
        "sweep-of-files-in-progress",
        FLOCK,
        "fcntl.flock(descriptor, fcntl.LOCK_EX)",
        "pass",
        "tests/storage/test_layout.py::test_temporary_files_are_removed_when_abandoned",
    ),
    Sabotage(
        "file-opened-through-a-link",
        REGULAR,
        "os.O_NOFOLLOW | ",
        "",
        "tests/storage/backends/test_regular_files.py::test_only_regular_files_are_opened",
    ),
    Sabotage(
        "lock-not-taken",
        FLOCK,
        "_acquire(descriptor, path, wait)",
        "pass",
        "tests/storage/test_locks.py::test_a_held_bucket_is_busy",
    ),
    Sabotage(
        "unconditional-put",
        OBJECTS,
        "if self._single_writer or over == ANY else",
        "if True else",
        "tests/storage/backends/test_store.py::test_a_lost_race_is_noticed",
    ),
    Sabotage(
        "store-without-conditions-accepted",
        OBJECTS,
        "if first is None or any(wrong):",
        "if False:",
        "tests/storage/backends/test_store.py::test_a_store_that_ignores_conditions",
    ),
    Sabotage(
        "lost-race-taken-for-a-lost-answer",
        ANSWERS,
        "if file.read(len(piece)) != bytes(piece):",
        "if not piece:",
        "tests/storage/backends/test_faulty_store.py::test_a_put_whose_answer_got_lost_is_ours",
    ),
    Sabotage(
        "partial-download-accepted",
        OBJECTS,
        'if path.stat().st_size != answer.meta["size"]:',
        "if False:",
        "tests/storage/backends/test_store.py::test_a_download_that_ends_early_is_an_error",
    ),
    Sabotage(
        "lost-group-merged-again",
        PUBLISH,
        "if lost:",
        "if False:",
        "tests/storage/test_races.py::test_an_old_refetch_that_comes_late",
    ),
    Sabotage(
        "group-checksum-not-compared",
        RAW_LOG,
        "if zlib.crc32(data) != batch.checksum:",
        "if False:",
        "tests/storage/test_raw_log.py::test_every_damage_is_noticed_or_harmless",
    ),
    Sabotage(
        "coverage-checksum-not-compared",
        COVERAGE,
        "if _CRC.pack(zlib.crc32(payload)) != raw[-_CRC.size :]:",
        "if False:",
        "tests/tables/test_coverage.py::test_every_changed_byte_is_detected",
    ),
    Sabotage(
        "seal-not-compared",
        FOOTER,
        "return _seal_of(end.replace(stated, _EMPTY_SEAL)) == stated",
        "return True",
        "tests/verbs/test_verify.py::test_every_flipped_bit_that_changes_anything_is_reported",
    ),
    Sabotage(
        "digest-not-compared",
        INTEGRITY,
        "digest(source, length) != keys[DIGEST]",
        "False",
        "tests/verbs/test_verify.py::test_a_page_that_changed_is_found_where_data_is_read",
    ),
    Sabotage(
        "misplaced-month-accepted",
        READER,
        "if name != home:",
        "if False:",
        "tests/storage/test_footers.py::test_a_file_copied_to_another_partition_is_refused",
    ),
    Sabotage(
        "newer-table-written-over",
        DERIVED,
        "if version > derived.VERSION:",
        "if False:",
        "tests/release/test_formats.py::test_what_a_run_does_not_need_stays_as_it_is",
    ),
)
