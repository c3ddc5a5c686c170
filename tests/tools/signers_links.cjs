// Signs links with a vendor's own library for Node. Prints {"files": {name: content}, "links": [{what, url, cookie?, before}]}:
// the keys that a gate needs, and links, in each of which the signature stands after `before`.
//
//   signers_links.cjs SIGNER '{"url": …, "until": …}'
'use strict'
const crypto = require('node:crypto')

const signers = {
    cloudfront({ url, until }) {
        const { getSignedUrl, getSignedCookies } = require('@aws-sdk/cloudfront-signer')
        const pair = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 })
        const key = {
            keyPairId: 'K2JCJMDEHXQW5F',
            privateKey: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }),
        }
        const dateLessThan = until * 1000
        const folder = JSON.stringify({
            Statement: [{
                Resource: url.replace(/[^/]*$/, '*'),
                Condition: { DateLessThan: { 'AWS:EpochTime': until }, IpAddress: { 'AWS:SourceIp': '127.0.0.0/8' } },
            }],
        })
        const cookie = (parts) => Object.entries(parts).map(([name, value]) => `${name}=${value}`).join('; ')
        return {
            files: { 'cloudfront.pem': pair.publicKey.export({ type: 'spki', format: 'pem' }) },
            links: [
                { what: 'canned policy', url: getSignedUrl({ url, dateLessThan, ...key }), before: 'Signature=' },
                {
                    what: 'canned policy, SHA-256',
                    url: getSignedUrl({ url, dateLessThan, ...key, algorithm: 'SHA256' }),
                    before: 'Signature=',
                },
                {
                    what: 'a further parameter',
                    url: getSignedUrl({ url: `${url}?size=large`, dateLessThan, ...key }),
                    before: 'Signature=',
                },
                { what: 'custom policy', url: getSignedUrl({ url, policy: folder, ...key }), before: 'Signature=' },
                {
                    what: 'cookies, canned policy',
                    url,
                    cookie: cookie(getSignedCookies({ url, dateLessThan, ...key })),
                    before: 'CloudFront-Signature=',
                },
                {
                    what: 'cookies, custom policy',
                    url,
                    cookie: cookie(getSignedCookies({ policy: folder, ...key })),
                    before: 'CloudFront-Signature=',
                },
            ],
        }
    },

    edge_auth({ url, until }) {
        const EdgeAuth = require('akamai-edgeauth')
        const key = crypto.randomBytes(32).toString('hex')
        const path = new URL(url).pathname
        const minter = (tokenName) => new EdgeAuth({ key, tokenName, endTime: until })
        const list = minter('hdnea').generateACLToken(['/trailers/*', path.replace(/[^/]*$/, '*')])
        return {
            files: { 'akamai.key': key },
            links: [
                { what: 'one path', url: `${url}?hdnts=${minter('hdnts').generateURLToken(path)}`, before: 'hmac=' },
                { what: 'a list of paths', url: `${url}?hdnea=${list}`, before: 'hmac=' },
                { what: 'a cookie', url, cookie: `hdnea=${list}`, before: 'hmac=' },
            ],
        }
    },
}

const [signer, wish] = process.argv.slice(2)
console.log(JSON.stringify(signers[signer](JSON.parse(wish))))
