"""Where a desk can die and none does here."""

from tests.promises.crashes.stories import KEEP_ROUND, MINT_ACCOUNT, MINT_KEY

CONTRACT, LITELLM = "tests/providers/test_contract.py", "tests/providers/test_litellm.py"
INVITED, USED = "tests/desk/test_invitations.py", "tests/desk/test_usage.py"
INVITED_ONCE = f"at Anthropic; asked for before it is sent: {CONTRACT}::test_an_invitation_is_sent_once_and_taken_back"
WITHDRAWN = f"at Anthropic; gone is gone: {CONTRACT}::test_an_invitation_is_sent_once_and_taken_back"
SWITCHED = f"at Anthropic; on is on, off is off, however often: {CONTRACT}::test_a_key_is_switched_off_and_on"
A_QUESTION = "changes nothing there: it asks"
WITH_THE_LEASE = f"a part of the transaction of {KEEP_ROUND}"
DIGESTS = "tests/desk/test_digest.py"
TIMERS = "tests/desk/test_timers.py"
REPLACED, CHECKED = "tests/desk/test_replacing.py", "tests/desk/test_holders.py"
INCIDENTS = "tests/desk/test_incidents.py"
WITH_THE_TIMER = f"a part of the transaction of Timers._carry_out: {INCIDENTS}::test_two_desks_find_it_once"
SWEEPS = "tests/desk/test_sweeps.py"
ELSEWHERE = {
    "Installation._note": "tests/desk/test_installation.py::test_it_is_found_without_an_event_and_outlives_a_restart",
    "Installation._resume": (
        "not written down it is asked again: "
        "tests/desk/test_installation.py::test_a_process_with_a_dead_token_does_not_silence_the_one_with_the_new"
    ),
    "Mailing._enrol 1": f"the rest an hour later: {DIGESTS}::test_who_has_one_is_found_again_and_again",
    "Mailing._enrol 2": f"the rest an hour later: {DIGESTS}::test_who_has_one_is_found_again_and_again",
    "Watch.digest.lease": f"{DIGESTS}::test_a_process_that_dies_between_posting_and_writing_it_down",
    "Mailing._later.put_off": f"{DIGESTS}::test_slack_is_down_and_some_cannot_be_reached",
    "Mailing._next.go_on": f"{DIGESTS}::test_posted_and_the_answer_lost_it_is_not_posted_again",
    "Mailing.choose": f"the same choice again changes nothing: {DIGESTS}::test_it_is_moved_and_switched_off_and_on",
    "files.upload.v2": f"a file of nobody's; of the digest, as above: {DIGESTS}::test_a_process_that_dies_between_posting_and_writing_it_down",
    "Replacing.review": f"begun anew at each start and each night: {REPLACED}::test_another_policy_has_other_approvers",
    "Replacing.look": f"a timer's act: {REPLACED}::test_two_processes_ask_once",
    "_keep": f"the check is made anew: {CHECKED}::test_a_process_that_died_in_the_check_leaves_it_to_another",
    "Holders._have_admins_told": f"with the lease of its round: {CHECKED}::test_the_admins_are_told_once_in_their_working_hours",
    **{f"Holders.tell {number}": "a timer's act that writes nothing" for number in range(1, 4)},
    "Lapsing.decision": WITH_THE_TIMER,
    "Lapsing.pick_up": WITH_THE_TIMER,
    "Lapsing.deposit": WITH_THE_TIMER,
    "over": WITH_THE_TIMER,
    "Expiring.look": WITH_THE_TIMER,
    "Idling.look": WITH_THE_TIMER,
    "Idling.keep": "pressed again it changes nothing: tests/desk/test_idling.py::test_who_keeps_it_is_left_alone_for_a_month",
    "Reminding.look": WITH_THE_TIMER,
    "Reminding.again": WITH_THE_TIMER,
    "Reminding.put_off": (
        "pressed again it changes nothing: tests/desk/test_reminding.py::test_remind_me_later_puts_off_to_half_time"
    ),
    "Incidents.look": WITH_THE_TIMER,
    "Incidents.become_quiet": WITH_THE_TIMER,
    "_over": WITH_THE_TIMER,
    "Incidents.mine": f"pressed again it changes nothing: {INCIDENTS}::test_that_was_me_closes_it_and_is_learnt",
    "Incidents.pause": f"pressed again it changes nothing: {INCIDENTS}::test_pause_switches_off_until_somebody_switches_on",
    "Timers._put_off": f"{TIMERS}::test_people_cannot_be_asked_and_it_is_tried_later",
    "Sweeps._write_down": f"{SWEEPS}::test_what_several_desks_did_stands_together",
    "OpenAI.mint: POST": f"at an API that makes no keys apart from accounts; leaves what {MINT_ACCOUNT} leaves",
    "OpenAI._create_key: POST 2": f"at an API whose keys do not expire; the call before it is {MINT_KEY}, and it made nothing",
    "OpenAI._delete_keys: DELETE": "at an API that keeps the account; deletes what is left of its keys when it is asked again",
    "OpenAI._lacks: POST": A_QUESTION,
    "Anthropic._lacks: POST": A_QUESTION,
    "OpenRouter._query: POST": A_QUESTION,
    "OpenRouter._guardrail: POST": (
        "made once, then found: tests/providers/test_openrouter.py::test_keys_with_the_same_models_share_a_guardrail"
    ),
    "LiteLLM._made_once: POST 2": f"the first again, with the same value: {LITELLM}::test_a_lost_answer_costs_no_key",
    "LiteLLM.mint: POST": "at a proxy that takes no value; leaves what LiteLLM._made_once: POST 1 leaves",
    "LiteLLM.create_project: POST": f"found by its name: {CONTRACT}::test_a_project_of_a_name_is_made_once",
    "People.invite: POST": INVITED_ONCE,
    "People.withdraw: DELETE 1": WITHDRAWN,
    "People.withdraw: DELETE 2": WITHDRAWN,
    "Invitations._send 1": f"nothing was sent, and nothing will be: {INVITED}::test_who_left_before_it_was_sent_is_not_invited",
    "Anthropic._switch: POST": SWITCHED,
    "Watch._begin_anew": f"due until it is done: {USED}::test_a_new_month_switches_it_on_again",
    "Inventory._compare": WITH_THE_LEASE,
    "Inventory._look_again.end": WITH_THE_LEASE,
    "Inventory._revoke_stray.write_down": WITH_THE_LEASE,
    "Inventory.take": WITH_THE_LEASE,
    "UsageDesk._forget": WITH_THE_LEASE,
    "UsageDesk._write_down": WITH_THE_LEASE,
    "_begin_all": "at the first beat of a desk only; what it did not begin is begun at the next",
    "_replace": "of a command and not of a desk: tests/desk/test_deposits.py::test_rotation_under_load_loses_nothing",
}
"""Points at which no desk dies here, and why not: what is found again by design names the test that shows it."""
