"""What the product does. Knows no Slack, no web, no SQL, no vendor, no clock of its own.

Its rooms, by matter:

- the things that it speaks of: `model`, `states`, `offer`, `findings`, `week`, `due`, `audit`, `errors`, `ids`
- what it needs of the world, and the edges implement: `ports`
- who may: `door`, `policy`, `linting`, `approvers`
- asking, deciding, and what is told of it: `menu`, `requests`, `extending`, `stories`
- a key on its way to its holder: `grants`, `keys`, `links`, `envelope`, `lessons`, `invitations`
- keys that people bring: `deposits`, `vault`
- another key in its place: `rotation`, `reminding`
- keys that end, and keys that are switched off: `revoking`, `switching`, `expiring`, `idling`
- what was used, and what is too much: `usage`, `growth`, `limits`, `budgets`, `unusual`, `incidents`
- what waits for people, by their clock: `waiting`, `lapsing`, `hours`, `zones`
- people who leave, and who answers in their place: `leaving`, `holders`, `replacing`
- what is looked at outside: `providers`, `rounds`, `inventory`, `overview`, `installation`
- what people get: `messages`, `digest`, `mailing`
- what makes all this happen in time: `watch`, `sweeps`, `hands`, `timers`, `bell`, `retrying`, `reference`
- how the rooms are put together: `assembly`
"""
