-- Settings of campaigns have a format, so that a version of the package that cannot read them
-- says so. Those of 0.1.0 have none. Settings are an object, and not empty.
UPDATE campaign SET settings = '{"format":1,' || substr(settings, 2) WHERE settings LIKE '{"%';
