// SPDX-License-Identifier: LGPL-2.1-or-later
'use strict';
module.exports = require('../build/Release/safestart.node');
