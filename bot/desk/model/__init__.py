"""The desk's things, frozen. Times are aware and in UTC, money is in whole US cents, durations are `timedelta`."""

from bot.desk.model.grant import Cause, Deposit, Grant, Key, Link
from bot.desk.model.notice import Notice, NoticeKind
from bot.desk.model.people import SYSTEM, Actor, Person, Session
from bot.desk.model.request import NEW_PROJECT, AccessRequest, Decision, Draft, Ruling, Scope, Wish
from bot.desk.model.secret import Context, Handover, Minted, Sealed, Secret, Unwritten
from bot.desk.model.standing import DeskState, Outsiders, ProviderState, Round, RoundKind, Silence
from bot.desk.model.story import Home, KeyUse, MyUsage, Reminded, ReportedBy, Story
from bot.desk.model.timer import Timer, TimerKind
from bot.desk.model.usage import Answer, DayUse, HourUse, Incident, Spending

__all__ = [
    "NEW_PROJECT",
    "SYSTEM",
    "AccessRequest",
    "Actor",
    "Answer",
    "Cause",
    "Context",
    "DayUse",
    "Decision",
    "Deposit",
    "DeskState",
    "Draft",
    "Grant",
    "Handover",
    "Home",
    "HourUse",
    "Incident",
    "Key",
    "KeyUse",
    "Link",
    "Minted",
    "MyUsage",
    "Notice",
    "NoticeKind",
    "Outsiders",
    "Person",
    "ProviderState",
    "Reminded",
    "ReportedBy",
    "Round",
    "RoundKind",
    "Ruling",
    "Scope",
    "Sealed",
    "Secret",
    "Session",
    "Silence",
    "Spending",
    "Story",
    "Timer",
    "TimerKind",
    "Unwritten",
    "Wish",
]
