-- A ledger that telecmi-async 0.1.0 wrote, with contacts in every state.
BEGIN TRANSACTION;
CREATE TABLE campaign (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created REAL NOT NULL,
    settings TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'paused', 'stopped')),
    why TEXT NOT NULL DEFAULT '',
    -- The count of intents to send.
    sends INTEGER NOT NULL DEFAULT 0,
    cost REAL NOT NULL DEFAULT 0
);
INSERT INTO "campaign" VALUES(1,'spring',1.79599717665994119651e+09,'{"flow":[{"action":"speak","text":"Hello {name}"},{"action":"hangup"}],"rules":{"window":null,"per_number":[{"count":2,"per":86400}],"per_day":null,"cost":null,"not_after":null,"do_not_call":true},"pace":{"calls_per_second":50.0,"max_live_calls":null,"max_in_flight":40,"shared":"account","caller_id_calls_per_second":null,"campaign_calls_per_second":null},"retries":{"attempts":3,"first":1.0,"longest":1800.0},"unknown":"hold","from":19170000000}','running','',11,1.5);
INSERT INTO "campaign" VALUES(2,'autumn',1.79599717667698478701e+09,'{"flow":[{"action":"hangup"}],"rules":{"window":null,"per_number":[],"per_day":null,"cost":null,"not_after":null,"do_not_call":true},"pace":{"calls_per_second":1.0,"max_live_calls":null,"max_in_flight":40,"shared":"account","caller_id_calls_per_second":null,"campaign_calls_per_second":null},"retries":{"attempts":4,"first":30.0,"longest":1800.0},"unknown":"hold","from":null}','paused','for lunch',0,0.0);
CREATE TABLE channel (
    key TEXT NOT NULL,
    holder TEXT NOT NULL,
    until REAL NOT NULL,
    PRIMARY KEY (key, holder)
) WITHOUT ROWID;
INSERT INTO "channel" VALUES('account','spring/19170100004',1.79599723685742807387e+09);
CREATE TABLE contact (
    id INTEGER PRIMARY KEY,
    campaign INTEGER NOT NULL REFERENCES campaign,
    number INTEGER NOT NULL,
    columns TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (
        state IN (
            'pending', 'claimed', 'sending', 'placed', 'finished',
            'rejected', 'failed', 'blocked', 'unknown'
        )
    ),
    reason TEXT NOT NULL DEFAULT '',
    -- The count of its claims: an older claim is void.
    epoch INTEGER NOT NULL DEFAULT 0,
    -- The claim's worker and lease. A send has its own.
    worker TEXT,
    lease_until REAL,
    not_before REAL NOT NULL DEFAULT 0,
    not_after REAL,
    sends INTEGER NOT NULL DEFAULT 0,
    request_id TEXT,
    answered INTEGER,
    talk_seconds INTEGER,
    cost REAL,
    sent_at REAL,
    finished_at REAL,
    UNIQUE (campaign, number),
    CHECK ((state = 'claimed') = (worker IS NOT NULL)),
    CHECK ((state = 'claimed') = (lease_until IS NOT NULL))
);
INSERT INTO "contact" VALUES(1,1,19170100000,'{"name":"N0 \u00fc"}','claimed','',1,'w1',1.79599723676494336128e+09,0.0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "contact" VALUES(2,1,19170100001,'{"name":"N1 \u00fc"}','claimed','',1,'w1',1.79599723676494336128e+09,0.0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "contact" VALUES(3,1,19170100002,'{"name":"N2 \u00fc"}','sending','',1,NULL,NULL,0.0,NULL,1,NULL,NULL,NULL,NULL,1.79599717676734209055e+09,NULL);
INSERT INTO "contact" VALUES(4,1,19170100003,'{"name":"N3 \u00fc"}','sending','',1,NULL,NULL,0.0,NULL,1,NULL,NULL,NULL,NULL,1.79599717678844618797e+09,NULL);
INSERT INTO "contact" VALUES(5,1,19170100004,'{"name":"N4 \u00fc"}','placed','',1,NULL,NULL,0.0,NULL,1,'req4',NULL,NULL,NULL,1.79599717680407452579e+09,NULL);
INSERT INTO "contact" VALUES(6,1,19170100005,'{"name":"N5 \u00fc"}','placed','',1,NULL,NULL,0.0,NULL,1,'req5',NULL,NULL,NULL,1.79599717681261444087e+09,NULL);
INSERT INTO "contact" VALUES(7,1,19170100006,'{"name":"N6 \u00fc"}','finished','',1,NULL,NULL,0.0,NULL,1,'req6',1,30,1.5,1.79599717681844067576e+09,1.79599717683251166341e+09);
INSERT INTO "contact" VALUES(8,1,19170100007,'{"name":"N7 \u00fc"}','finished','',1,NULL,NULL,0.0,NULL,1,'req7',0,0,0.0,1.79599717683384871485e+09,1.79599717683863568311e+09);
INSERT INTO "contact" VALUES(9,1,19170100008,'{"name":"N8 \u00fc"}','rejected','HTTP 404',1,NULL,NULL,0.0,NULL,1,NULL,NULL,NULL,NULL,1.79599717683935713769e+09,NULL);
INSERT INTO "contact" VALUES(10,1,19170100009,'{"name":"N9 \u00fc"}','failed','three times too many',1,NULL,NULL,0.0,NULL,1,NULL,NULL,NULL,NULL,1795997176.84039,NULL);
INSERT INTO "contact" VALUES(11,1,19170100010,'{"name":"N10 \u00fc"}','blocked','do_not_call: asked us',1,NULL,NULL,0.0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "contact" VALUES(12,1,19170100011,'{"name":"N11 \u00fc"}','pending','window: it is night',1,NULL,NULL,1.79599717784174942969e+09,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "contact" VALUES(13,1,19170100012,'{"name":"N12 \u00fc"}','unknown','ReadTimeout',1,NULL,NULL,0.0,NULL,1,NULL,NULL,NULL,NULL,1.79599717684223675728e+09,NULL);
INSERT INTO "contact" VALUES(14,1,19170100013,'{"name":"N13 \u00fc"}','pending','too many',1,NULL,NULL,1.79599717784312510487e+09,NULL,1,NULL,NULL,NULL,NULL,1.79599717684318923955e+09,NULL);
INSERT INTO "contact" VALUES(15,1,19170100014,'{"name":"N14 \u00fc"}','pending','',1,NULL,NULL,0.0,NULL,1,NULL,NULL,NULL,NULL,1.79599717684438276287e+09,NULL);
INSERT INTO "contact" VALUES(16,1,19170100015,'{"name":"N15 \u00fc"}','pending','',1,NULL,NULL,0.0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "contact" VALUES(17,1,19170100016,'{"name":"N16 \u00fc"}','pending','',0,NULL,NULL,0.0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "contact" VALUES(18,1,19170100017,'{"name":"N17 \u00fc"}','pending','',0,NULL,NULL,0.0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "contact" VALUES(19,2,19170100000,'{}','pending','',0,NULL,NULL,0.0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "contact" VALUES(20,2,19170100001,'{}','pending','',0,NULL,NULL,0.0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "contact" VALUES(21,2,19170100002,'{}','pending','',0,NULL,NULL,0.0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE do_not_call (
    number INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    at REAL NOT NULL
);
INSERT INTO "do_not_call" VALUES(19170100100,'asked us',1.79599717675829935068e+09);
CREATE TABLE pace (
    key TEXT PRIMARY KEY,
    due REAL NOT NULL
) WITHOUT ROWID;
INSERT INTO "pace" VALUES('account',1.79599717687665843962e+09);
CREATE TABLE passage (
    id INTEGER PRIMARY KEY,
    contact INTEGER NOT NULL REFERENCES contact,
    at REAL NOT NULL,
    what TEXT NOT NULL,
    detail TEXT NOT NULL,
    token TEXT
);
INSERT INTO "passage" VALUES(1,1,1.79599717676494336133e+09,'claim','w1',NULL);
INSERT INTO "passage" VALUES(2,2,1.79599717676494336133e+09,'claim','w1',NULL);
INSERT INTO "passage" VALUES(3,3,1.79599717676494336133e+09,'claim','w1',NULL);
INSERT INTO "passage" VALUES(4,4,1.79599717676494336133e+09,'claim','w1',NULL);
INSERT INTO "passage" VALUES(5,5,1.79599717676494336133e+09,'claim','w1',NULL);
INSERT INTO "passage" VALUES(6,6,1.79599717676494336133e+09,'claim','w1',NULL);
INSERT INTO "passage" VALUES(7,7,1.79599717676494336133e+09,'claim','w1',NULL);
INSERT INTO "passage" VALUES(8,8,1.79599717676494336133e+09,'claim','w1',NULL);
INSERT INTO "passage" VALUES(9,9,1.79599717676494336133e+09,'claim','w1',NULL);
INSERT INTO "passage" VALUES(10,10,1.79599717676494336133e+09,'claim','w1',NULL);
INSERT INTO "passage" VALUES(11,11,1.79599717676494336133e+09,'claim','w1',NULL);
INSERT INTO "passage" VALUES(12,12,1.79599717676494336133e+09,'claim','w1',NULL);
INSERT INTO "passage" VALUES(13,13,1.79599717676494336133e+09,'claim','w1',NULL);
INSERT INTO "passage" VALUES(14,14,1.79599717676494336133e+09,'claim','w1',NULL);
INSERT INTO "passage" VALUES(15,15,1.79599717676494336133e+09,'claim','w1',NULL);
INSERT INTO "passage" VALUES(16,16,1.79599717676494336133e+09,'claim','w1',NULL);
INSERT INTO "passage" VALUES(17,3,1.79599717676734209055e+09,'intend','w1','tcm_2');
INSERT INTO "passage" VALUES(18,4,1.79599717678844618797e+09,'intend','w1','tcm_3');
INSERT INTO "passage" VALUES(19,5,1.79599717680407452579e+09,'intend','w1','tcm_4');
INSERT INTO "passage" VALUES(20,5,1.79599717680843400961e+09,'accept','','tcm_4');
INSERT INTO "passage" VALUES(21,6,1.79599717681261444087e+09,'intend','w1','tcm_5');
INSERT INTO "passage" VALUES(22,6,1.79599717681661701206e+09,'accept','','tcm_5');
INSERT INTO "passage" VALUES(23,7,1.79599717681844067576e+09,'intend','w1','tcm_6');
INSERT INTO "passage" VALUES(24,7,1.79599717682409167288e+09,'accept','','tcm_6');
INSERT INTO "passage" VALUES(25,7,1.79599717683251166341e+09,'finish','','tcm_6');
INSERT INTO "passage" VALUES(26,8,1.79599717683384871485e+09,'intend','w1','tcm_7');
INSERT INTO "passage" VALUES(27,8,1.79599717683503937726e+09,'accept','','tcm_7');
INSERT INTO "passage" VALUES(28,8,1.79599717683863568311e+09,'finish','','tcm_7');
INSERT INTO "passage" VALUES(29,9,1.79599717683935713769e+09,'intend','w1','tcm_8');
INSERT INTO "passage" VALUES(30,9,1.79599717683982896803e+09,'reject','HTTP 404','tcm_8');
INSERT INTO "passage" VALUES(31,10,1795997176.84039,'intend','w1','tcm_9');
INSERT INTO "passage" VALUES(32,10,1.79599717684084939951e+09,'fail','three times too many','tcm_9');
INSERT INTO "passage" VALUES(33,11,1.79599717684134340288e+09,'block','do_not_call: asked us',NULL);
INSERT INTO "passage" VALUES(34,12,1.79599717684179711343e+09,'postpone','window: it is night',NULL);
INSERT INTO "passage" VALUES(35,13,1.79599717684223675728e+09,'intend','w1','tcm_12');
INSERT INTO "passage" VALUES(36,13,1.79599717684267044066e+09,'mark_unknown','ReadTimeout','tcm_12');
INSERT INTO "passage" VALUES(37,14,1.79599717684318923955e+09,'intend','w1','tcm_13');
INSERT INTO "passage" VALUES(38,14,1.79599717684363937384e+09,'retry','too many','tcm_13');
INSERT INTO "passage" VALUES(39,15,1.79599717684438276287e+09,'intend','w1','tcm_14');
INSERT INTO "passage" VALUES(40,15,1.79599717684512186046e+09,'mark_unknown','reset','tcm_14');
INSERT INTO "passage" VALUES(41,15,1.79599717684783697128e+09,'redial','',NULL);
INSERT INTO "passage" VALUES(42,16,1.79599717684879875184e+09,'release','w1',NULL);
CREATE TABLE quarter (
    campaign INTEGER NOT NULL REFERENCES campaign,
    quarter INTEGER NOT NULL,
    sends INTEGER NOT NULL,
    PRIMARY KEY (campaign, quarter)
) WITHOUT ROWID;
INSERT INTO "quarter" VALUES(1,1995552,8);
CREATE TABLE send (
    id INTEGER PRIMARY KEY,
    token TEXT NOT NULL UNIQUE,
    contact INTEGER NOT NULL REFERENCES contact,
    campaign INTEGER NOT NULL REFERENCES campaign,
    number INTEGER NOT NULL,
    worker TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'sending' CHECK (
        state IN ('sending', 'placed', 'finished', 'unknown', 'absent')
    ),
    at REAL NOT NULL,
    send_by REAL NOT NULL,
    lease_until REAL NOT NULL,
    detail TEXT NOT NULL DEFAULT '',
    request_id TEXT,
    -- When the latest event of it arrived.
    last_event_at REAL,
    answered INTEGER,
    talk_seconds INTEGER,
    cost REAL
);
INSERT INTO "send" VALUES(1,'tcm_2',3,1,19170100002,'w1',1,'sending',1.79599717676734209055e+09,1.79599720676734209059e+09,1.79599729676734209057e+09,'',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "send" VALUES(2,'tcm_3',4,1,19170100003,'w1',1,'sending',1.79599717678844618797e+09,1.79599720678844618801e+09,1.79599729678844618804e+09,'',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "send" VALUES(3,'tcm_4',5,1,19170100004,'w1',1,'placed',1.79599717680407452579e+09,1.79599720680407452582e+09,1.79599729680407452581e+09,'','req4',NULL,NULL,NULL,NULL);
INSERT INTO "send" VALUES(4,'tcm_5',6,1,19170100005,'w1',1,'placed',1.79599717681261444087e+09,1.79599720681261444091e+09,1.79599729681261444094e+09,'','req5',NULL,NULL,NULL,NULL);
INSERT INTO "send" VALUES(5,'tcm_6',7,1,19170100006,'w1',1,'finished',1.79599717681844067576e+09,1.79599720681844067567e+09,1.7959972968184406757e+09,'','req6',1.79599717683266901975e+09,1,30,1.5);
INSERT INTO "send" VALUES(6,'tcm_7',8,1,19170100007,'w1',1,'finished',1.79599717683384871485e+09,1.7959972068338487148e+09,1.79599729683384871483e+09,'','req7',1.79599717683876824374e+09,0,0,0.0);
INSERT INTO "send" VALUES(7,'tcm_8',9,1,19170100008,'w1',1,'absent',1.79599717683935713769e+09,1.79599720683935713773e+09,1.79599729683935713762e+09,'HTTP 404',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "send" VALUES(8,'tcm_9',10,1,19170100009,'w1',1,'absent',1795997176.84039,1795997206.84039,1795997296.84039,'three times too many',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "send" VALUES(9,'tcm_12',13,1,19170100012,'w1',1,'unknown',1.79599717684223675728e+09,1.79599720684223675723e+09,1.79599729684223675726e+09,'ReadTimeout',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "send" VALUES(10,'tcm_13',14,1,19170100013,'w1',1,'absent',1.79599717684318923955e+09,1.79599720684318923946e+09,1.79599729684318923945e+09,'too many',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "send" VALUES(11,'tcm_14',15,1,19170100014,'w1',1,'unknown',1.79599717684438276287e+09,1.79599720684438276295e+09,1.79599729684438276294e+09,'reset',NULL,NULL,NULL,NULL,NULL);
CREATE TABLE tally (
    campaign INTEGER NOT NULL REFERENCES campaign,
    state TEXT NOT NULL,
    contacts INTEGER NOT NULL DEFAULT 0 CHECK (contacts >= 0),
    PRIMARY KEY (campaign, state)
) WITHOUT ROWID;
INSERT INTO "tally" VALUES(1,'blocked',1);
INSERT INTO "tally" VALUES(1,'claimed',2);
INSERT INTO "tally" VALUES(1,'failed',1);
INSERT INTO "tally" VALUES(1,'finished',2);
INSERT INTO "tally" VALUES(1,'pending',6);
INSERT INTO "tally" VALUES(1,'placed',2);
INSERT INTO "tally" VALUES(1,'rejected',1);
INSERT INTO "tally" VALUES(1,'sending',2);
INSERT INTO "tally" VALUES(1,'unknown',1);
INSERT INTO "tally" VALUES(2,'blocked',0);
INSERT INTO "tally" VALUES(2,'claimed',0);
INSERT INTO "tally" VALUES(2,'failed',0);
INSERT INTO "tally" VALUES(2,'finished',0);
INSERT INTO "tally" VALUES(2,'pending',3);
INSERT INTO "tally" VALUES(2,'placed',0);
INSERT INTO "tally" VALUES(2,'rejected',0);
INSERT INTO "tally" VALUES(2,'sending',0);
INSERT INTO "tally" VALUES(2,'unknown',0);
CREATE INDEX contact_due ON contact (campaign, not_before, id) WHERE state = 'pending';
CREATE INDEX contact_claimed ON contact (campaign, lease_until) WHERE state = 'claimed';
CREATE INDEX contact_unknown ON contact (campaign) WHERE state = 'unknown';
CREATE INDEX contact_placed ON contact (campaign, sent_at) WHERE state = 'placed';
CREATE INDEX send_number ON send (number, at);
CREATE INDEX send_campaign ON send (campaign, at);
CREATE INDEX send_open ON send (campaign, lease_until) WHERE state = 'sending';
CREATE INDEX send_unknown ON send (campaign) WHERE state = 'unknown';
CREATE INDEX send_request_id ON send (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX passage_contact ON passage (contact);
CREATE TRIGGER contact_added AFTER INSERT ON contact BEGIN
    UPDATE tally SET contacts = contacts + 1
    WHERE campaign = new.campaign AND state = new.state;
END;
CREATE TRIGGER contact_moved AFTER UPDATE OF state ON contact WHEN old.state <> new.state BEGIN
    UPDATE tally SET contacts = contacts - 1
    WHERE campaign = old.campaign AND state = old.state;
    UPDATE tally SET contacts = contacts + 1
    WHERE campaign = new.campaign AND state = new.state;
END;
CREATE TRIGGER send_added AFTER INSERT ON send BEGIN
    UPDATE campaign SET sends = sends + 1 WHERE id = new.campaign;
    INSERT INTO quarter (campaign, quarter, sends)
    VALUES (new.campaign, CAST(new.at / 900 AS INTEGER), 1)
    ON CONFLICT DO UPDATE SET sends = sends + 1;
END;
CREATE TRIGGER send_judged AFTER UPDATE OF state ON send
WHEN (old.state = 'absent') <> (new.state = 'absent') BEGIN
    UPDATE quarter SET sends = sends + CASE new.state WHEN 'absent' THEN -1 ELSE 1 END
    WHERE campaign = new.campaign AND quarter = CAST(new.at / 900 AS INTEGER);
END;
COMMIT;
PRAGMA application_id = 1952673100;
PRAGMA user_version = 1;
