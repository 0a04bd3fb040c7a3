"""Puts the desk together: which of its parts needs which of the others."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bot.desk.approvers import Approvers
from bot.desk.bell import Bell
from bot.desk.budgets import Budgets
from bot.desk.deposits import Deposits
from bot.desk.digest import Digests
from bot.desk.door import Door
from bot.desk.expiring import Expiring
from bot.desk.extending import Extending
from bot.desk.grants import Grants
from bot.desk.hands import Hands
from bot.desk.holders import Holders
from bot.desk.idling import Idling
from bot.desk.incidents import Incidents
from bot.desk.installation import Installation
from bot.desk.inventory import Inventory
from bot.desk.invitations import Invitations
from bot.desk.lapsing import Lapsing
from bot.desk.leaving import Leaving
from bot.desk.links import Links
from bot.desk.mailing import Mailing
from bot.desk.menu import Menus
from bot.desk.messages import Messages
from bot.desk.model import RoundKind, TimerKind
from bot.desk.overview import Overview
from bot.desk.policy import Policy
from bot.desk.ports import Clock, Directory, Line, Notifier, Provider, Random, Store
from bot.desk.providers import Providers
from bot.desk.reminding import Reminding
from bot.desk.replacing import Replacing
from bot.desk.requests import Requests
from bot.desk.revoking import Revoking
from bot.desk.rotation import Rotation
from bot.desk.rounds import Rounds
from bot.desk.stories import Stories
from bot.desk.sweeps import Pass
from bot.desk.switching import Switching
from bot.desk.timers import Timers
from bot.desk.usage import UsageDesk
from bot.desk.vault import KekSource, Vault
from bot.desk.watch import Watch


@dataclass(frozen=True, slots=True)
class Desk:
    """What the edges call, and what time does."""

    providers: Providers
    stories: Stories
    menus: Menus
    requests: Requests
    deposits: Deposits
    grants: Grants
    links: Links
    revoking: Revoking
    switching: Switching
    incidents: Incidents
    rotation: Rotation
    reminding: Reminding
    usage: UsageDesk
    leaving: Leaving
    replacing: Replacing
    installation: Installation
    extending: Extending
    idling: Idling
    mailing: Mailing
    watch: Watch


def assemble(
    *,
    store: Store,
    directory: Directory,
    notifier: Notifier,
    line: Line,
    policy: Policy,
    providers: Mapping[str, Provider],
    clock: Clock,
    random: Random,
    public_url: str,
    kek: KekSource | None = None,
    heard: Callable[[Pass], None] = lambda one: None,
) -> Desk:
    """A desk on this store, complete. Its parts share one bell. Without `kek` it takes no deposits.

    `heard` is told of each pass of a sweep that ended.
    """
    bell = Bell()
    known = Providers(providers, policy=policy, clock=clock)
    door = Door(store=store, directory=directory, clock=clock)
    approvers = Approvers(policy=policy, directory=directory, door=door)
    overview = Overview(store=store, approvers=approvers, providers=known, notifier=notifier, clock=clock)
    stories = Stories(
        store=store,
        directory=directory,
        approvers=approvers,
        providers=known,
        overview=overview,
        public_url=public_url,
    )
    menus = Menus(store=store, door=door, approvers=approvers, providers=known)
    requests = Requests(
        store=store,
        directory=directory,
        door=door,
        approvers=approvers,
        providers=known,
        menus=menus,
        stories=stories,
        bell=bell,
        clock=clock,
        random=random,
    )
    deposits = Deposits(
        store=store,
        directory=directory,
        door=door,
        approvers=approvers,
        providers=known,
        vault=Vault(source=kek, random=random),
        bell=bell,
        clock=clock,
        random=random,
    )
    grants = Grants(
        store=store,
        door=door,
        approvers=approvers,
        providers=known,
        deposits=deposits,
        bell=bell,
        clock=clock,
        random=random,
        public_url=public_url,
    )
    rotation = Rotation(
        store=store,
        door=door,
        approvers=approvers,
        providers=known,
        policy=policy,
        bell=bell,
        clock=clock,
        random=random,
    )
    links = Links(store=store, door=door, providers=known, rotation=rotation, bell=bell, clock=clock)
    revoking = Revoking(store=store, approvers=approvers, providers=known, bell=bell, clock=clock, random=random)
    switching = Switching(store=store, door=door, approvers=approvers, providers=known, bell=bell, clock=clock)
    budgets = Budgets(
        store=store,
        approvers=approvers,
        policy=policy,
        providers=known,
        grants=grants,
        switching=switching,
        clock=clock,
        random=random,
    )
    usage = UsageDesk(
        store=store, door=door, providers=known, rotation=rotation, budgets=budgets, bell=bell, clock=clock
    )
    inventory = Inventory(store=store, providers=known, grants=grants, bell=bell, clock=clock)
    leaving = Leaving(
        store=store,
        directory=directory,
        approvers=approvers,
        providers=known,
        grants=grants,
        bell=bell,
        clock=clock,
        random=random,
    )
    replacing = Replacing(store=store, directory=directory, approvers=approvers, clock=clock, random=random)
    holders = Holders(
        store=store,
        directory=directory,
        line=line,
        approvers=approvers,
        leaving=leaving,
        replacing=replacing,
        notifier=notifier,
        clock=clock,
    )
    rounds = Rounds(
        store=store,
        providers=known,
        clock=clock,
        walks={
            RoundKind.CREDENTIAL: overview.look,
            RoundKind.USAGE: usage.collect,
            RoundKind.INVENTORY: inventory.take,
            RoundKind.HOLDERS: holders.check,
        },
    )
    invitations = Invitations(store=store, providers=known, directory=directory, bell=bell, clock=clock)
    installation = Installation(store=store, line=line, bell=bell, clock=clock)
    incidents = Incidents(
        store=store,
        directory=directory,
        door=door,
        approvers=approvers,
        providers=known,
        switching=switching,
        bell=bell,
        clock=clock,
        random=random,
    )
    lapsing = Lapsing(
        store=store,
        directory=directory,
        approvers=approvers,
        grants=grants,
        rotation=rotation,
        clock=clock,
        random=random,
    )
    expiring = Expiring(store=store, directory=directory, clock=clock, random=random)
    idling = Idling(
        store=store,
        directory=directory,
        door=door,
        providers=known,
        grants=grants,
        bell=bell,
        clock=clock,
        random=random,
    )
    extending = Extending(store=store, door=door, approvers=approvers, requests=requests, providers=known)
    reminding = Reminding(
        store=store,
        directory=directory,
        door=door,
        approvers=approvers,
        providers=known,
        policy=policy,
        grants=grants,
        switching=switching,
        bell=bell,
        clock=clock,
        random=random,
    )
    timers = Timers(
        store=store,
        directory=directory,
        bell=bell,
        clock=clock,
        handlers={
            TimerKind.DECISION: lapsing.decision,
            TimerKind.PICK_UP: lapsing.pick_up,
            TimerKind.DEPOSIT: lapsing.deposit,
            TimerKind.EXPIRY: expiring.look,
            TimerKind.IDLE: idling.look,
            TimerKind.ROTATION: reminding.look,
            TimerKind.ROTATE_LATER: reminding.again,
            TimerKind.UNUSUAL: incidents.look,
            TimerKind.QUIET: incidents.become_quiet,
            TimerKind.ASKED: replacing.look,
            TimerKind.HOLDERS: holders.tell,
        },
    )
    mailing = Mailing(
        store=store,
        directory=directory,
        door=door,
        approvers=approvers,
        digests=Digests(store=store, approvers=approvers, providers=known, clock=clock),
        notifier=notifier,
        clock=clock,
        random=random,
    )
    hands = Hands(store=store, clock=clock)
    messages = Messages(
        store=store,
        directory=directory,
        stories=stories,
        notifier=notifier,
        installation=installation,
        hands=hands,
        clock=clock,
    )
    watch = Watch(
        store=store,
        providers=known,
        grants=grants,
        revoking=revoking,
        switching=switching,
        rotation=rotation,
        budgets=budgets,
        rounds=rounds,
        timers=timers,
        invitations=invitations,
        installation=installation,
        mailing=mailing,
        messages=messages,
        hands=hands,
        bell=bell,
        clock=clock,
        random=random,
        heard=heard,
    )
    return Desk(
        providers=known,
        stories=stories,
        menus=menus,
        requests=requests,
        deposits=deposits,
        grants=grants,
        links=links,
        revoking=revoking,
        switching=switching,
        incidents=incidents,
        rotation=rotation,
        reminding=reminding,
        usage=usage,
        leaving=leaving,
        replacing=replacing,
        installation=installation,
        extending=extending,
        idling=idling,
        mailing=mailing,
        watch=watch,
    )
