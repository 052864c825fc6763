"""The languages of ISO 639-1, as the standard and as Amplitude's documentation list them."""

from __future__ import annotations

ISO = """
aa/aar Afar; ab/abk Abkhazian; ae/ave Avestan; af/afr Afrikaans; ak/aka Akan; am/amh Amharic;
an/arg Aragonese; ar/ara Arabic; as/asm Assamese; av/ava Avaric; ay/aym Aymara; az/aze
Azerbaijani; ba/bak Bashkir; be/bel Belarusian; bg/bul Bulgarian; bi/bis Bislama; bm/bam
Bambara; bn/ben Bengali; bo/bod/tib Tibetan; br/bre Breton; bs/bos Bosnian; ca/cat Catalan;
ce/che Chechen; ch/cha Chamorro; co/cos Corsican; cr/cre Cree; cs/ces/cze Czech; cu/chu Church
Slavic; cv/chv Chuvash; cy/cym/wel Welsh; da/dan Danish; de/deu/ger German; dv/div Divehi;
dz/dzo Dzongkha; ee/ewe Ewe; el/ell/gre Modern Greek (1453-); en/eng English; eo/epo Esperanto;
es/spa Spanish; et/est Estonian; eu/eus/baq Basque; fa/fas/per Persian; ff/ful Fulah; fi/fin
Finnish; fj/fij Fijian; fo/fao Faroese; fr/fra/fre French; fy/fry Western Frisian; ga/gle Irish;
gd/gla Scottish Gaelic; gl/glg Galician; gn/grn Guarani; gu/guj Gujarati; gv/glv Manx; ha/hau
Hausa; he/heb Hebrew; hi/hin Hindi; ho/hmo Hiri Motu; hr/hrv Croatian; ht/hat Haitian; hu/hun
Hungarian; hy/hye/arm Armenian; hz/her Herero; ia/ina Interlingua (International Auxiliary
Language Association); id/ind Indonesian; ie/ile Interlingue; ig/ibo Igbo; ii/iii Sichuan Yi;
ik/ipk Inupiaq; io/ido Ido; is/isl/ice Icelandic; it/ita Italian; iu/iku Inuktitut; ja/jpn
Japanese; jv/jav Javanese; ka/kat/geo Georgian; kg/kon Kongo; ki/kik Kikuyu; kj/kua Kuanyama;
kk/kaz Kazakh; kl/kal Kalaallisut; km/khm Khmer; kn/kan Kannada; ko/kor Korean; kr/kau Kanuri;
ks/kas Kashmiri; ku/kur Kurdish; kv/kom Komi; kw/cor Cornish; ky/kir Kirghiz; la/lat Latin;
lb/ltz Luxembourgish; lg/lug Ganda; li/lim Limburgan; ln/lin Lingala; lo/lao Lao; lt/lit
Lithuanian; lu/lub Luba-Katanga; lv/lav Latvian; mg/mlg Malagasy; mh/mah Marshallese; mi/mri/mao
Maori; mk/mkd/mac Macedonian; ml/mal Malayalam; mn/mon Mongolian; mr/mar Marathi; ms/msa/may
Malay (macrolanguage); mt/mlt Maltese; my/mya/bur Burmese; na/nau Nauru; nb/nob Norwegian
Bokmål; nd/nde North Ndebele; ne/nep Nepali (macrolanguage); ng/ndo Ndonga; nl/nld/dut Dutch;
nn/nno Norwegian Nynorsk; no/nor Norwegian; nr/nbl South Ndebele; nv/nav Navajo; ny/nya
Chichewa; oc/oci Occitan (post 1500); oj/oji Ojibwa; om/orm Oromo; or/ori Oriya (macrolanguage);
os/oss Ossetian; pa/pan Panjabi; pi/pli Pali; pl/pol Polish; ps/pus Pushto; pt/por Portuguese;
qu/que Quechua; rm/roh Romansh; rn/run Rundi; ro/ron/rum Romanian; ru/rus Russian; rw/kin
Kinyarwanda; sa/san Sanskrit; sc/srd Sardinian; sd/snd Sindhi; se/sme Northern Sami; sg/sag
Sango; si/sin Sinhala; sk/slk/slo Slovak; sl/slv Slovenian; sm/smo Samoan; sn/sna Shona; so/som
Somali; sq/sqi/alb Albanian; sr/srp Serbian; ss/ssw Swati; st/sot Southern Sotho; su/sun
Sundanese; sv/swe Swedish; sw/swa Swahili (macrolanguage); ta/tam Tamil; te/tel Telugu; tg/tgk
Tajik; th/tha Thai; ti/tir Tigrinya; tk/tuk Turkmen; tl/tgl Tagalog; tn/tsn Tswana; to/ton Tonga
(Tonga Islands); tr/tur Turkish; ts/tso Tsonga; tt/tat Tatar; tw/twi Twi; ty/tah Tahitian;
ug/uig Uighur; uk/ukr Ukrainian; ur/urd Urdu; uz/uzb Uzbek; ve/ven Venda; vi/vie Vietnamese;
vo/vol Volapük; wa/wln Walloon; wo/wol Wolof; xh/xho Xhosa; yi/yid Yiddish; yo/yor Yoruba;
za/zha Zhuang; zh/zho/chi Chinese; zu/zul Zulu
"""
"""Each language: its code of two letters, those of three letters, and its name."""
AMPLITUDE = """
ab Abkhazian; aa Afar; af Afrikaans; ak Akan; sq Albanian; am Amharic; ar Arabic; an Aragonese;
hy Armenian; as Assamese; av Avaric; ae Avestan; ay Aymara; az Azerbaijani; bm Bambara; ba
Bashkir; eu Basque; be Belarusian; bn Bengali; bi Bislama; bs Bosnian; br Breton; bg Bulgarian;
my Burmese; ca Catalan; ch Chamorro; ce Chechen; zh Chinese; cu Church Slavic; cv Chuvash; kw
Cornish; co Corsican; cr Cree; hr Croatian; cs Czech; da Danish; dv Divehi; nl Dutch; dz
Dzongkha; en English; eo Esperanto; et Estonian; ee Ewe; fo Faroese; fj Fijian; fi Finnish; nl
Flemish; fr French; ff Fulah; gl Galician; lg Ganda; ka Georgian; de German; el Greek; gn
Guarani; gu Gujarati; ht Haitian; ha Hausa; he Hebrew; hz Herero; hi Hindi; ho Hiri Motu; hu
Hungarian; is Icelandic; io Ido; ig Igbo; id Indonesian; ia Interlingua; ie Interlingue; iu
Inuktitut; ik Inupiaq; ga Irish; it Italian; ja Japanese; jv Javanese; kl Kalaallisut; kn
Kannada; kr Kanuri; ks Kashmiri; kk Kazakh; km Khmer; ki Kikuyu; rw Kinyarwanda; kv Komi; kg
Kongo; ko Korean; kj Kuanyama; ku Kurdish; ky Kyrgyz; lo Lao; la Latin; lv Latvian; li
Limburgish; ln Lingala; lt Lithuanian; lu Luba-Katanga; lb Luxembourgish; mk Macedonian; mg
Malagasy; ms Malay; ml Malayalam; mt Maltese; gv Manx; mi Maori; mr Marathi; mh Marshallese; ro
Moldavian; mn Mongolian; na Nauru; nv Navajo; ng Ndonga; ne Nepali; nd North Ndebele; se
Northern Sami; no Norwegian; ny Nyanja; oc Occitan; oj Ojibwa; or Oriya; om Oromo; os Ossetic;
pi Pali; ps Pashto; fa Persian; pl Polish; pt Portuguese; pa Punjabi; qu Quechua; ro Romanian;
rm Romansh; rn Rundi; ru Russian; sm Samoan; sg Sango; sa Sanskrit; sc Sardinian; gd Scottish
Gaelic; sr Serbian; sr Serbo-Croatian; sn Shona; ii Sichuan Yi; sd Sindhi; si Sinhala; sk
Slovak; sl Slovenian; so Somali; nr South Ndebele; st Southern Sotho; es Spanish; su Sundanese;
sw Swahili; ss Swati; sv Swedish; tl Tagalog; ty Tahitian; tg Tajik; ta Tamil; tt Tatar; te
Telugu; th Thai; bo Tibetan; ti Tigrinya; to Tongan; ts Tsonga; tn Tswana; tr Turkish; tk
Turkmen; tw Twi; uk Ukrainian; ur Urdu; ug Uyghur; uz Uzbek; ve Venda; vi Vietnamese; vo
Volapük; wa Walloon; cy Welsh; fy Western Frisian; wo Wolof; xh Xhosa; yi Yiddish; yo Yoruba; za
Zhuang; zu Zulu
"""
"""Each of Amplitude's names of these languages, and the code of two letters."""


def entries(table: str) -> list[tuple[str, str]]:
    """The codes and the name of each entry."""
    pairs = [" ".join(entry.split()).split(" ", 1) for entry in table.split(";")]
    return [(codes, name) for codes, name in pairs]
