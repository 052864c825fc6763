"""The languages of ISO 639-1: their codes, and the names that devices and analytics give them."""

from __future__ import annotations

# Two letters; the codes of three letters (ISO 639-2 and 639-3); English names, those of ISO, of
# Amplitude and of Unicode's CLDR.
LANGUAGES = """
aa aar: Afar
ab abk: Abkhazian, Abkhaz
ae ave: Avestan
af afr: Afrikaans
ak aka: Akan
am amh: Amharic
an arg: Aragonese
ar ara: Arabic
as asm: Assamese
av ava: Avaric
ay aym: Aymara
az aze: Azerbaijani, Azeri
ba bak: Bashkir
be bel: Belarusian, Byelorussian
bg bul: Bulgarian
bi bis: Bislama
bm bam: Bambara
bn ben: Bengali, Bangla
bo bod tib: Tibetan
br bre: Breton
bs bos: Bosnian
ca cat: Catalan, Valencian
ce che: Chechen
ch cha: Chamorro
co cos: Corsican
cr cre: Cree
cs ces cze: Czech
cu chu: Church Slavic, Church Slavonic, Old Church Slavonic, Old Bulgarian
cv chv: Chuvash
cy cym wel: Welsh
da dan: Danish
de deu ger: German
dv div: Divehi, Maldivian, Dhivehi
dz dzo: Dzongkha
ee ewe: Ewe
el ell gre: Modern Greek, Greek
en eng: English
eo epo: Esperanto
es spa: Spanish, Castilian
et est: Estonian
eu eus baq: Basque
fa fas per: Persian, Farsi
ff ful: Fulah, Fula
fi fin: Finnish
fj fij: Fijian
fo fao: Faroese
fr fra fre: French
fy fry: Western Frisian
ga gle: Irish, Irish Gaelic
gd gla: Scottish Gaelic, Gaelic
gl glg: Galician
gn grn: Guarani
gu guj: Gujarati
gv glv: Manx
ha hau: Hausa
he heb: Hebrew
hi hin: Hindi
ho hmo: Hiri Motu
hr hrv: Croatian
ht hat: Haitian, Haitian Creole
hu hun: Hungarian
hy hye arm: Armenian
hz her: Herero
ia ina: Interlingua
id ind: Indonesian
ie ile: Interlingue, Occidental
ig ibo: Igbo
ii iii: Sichuan Yi, Nuosu
ik ipk: Inupiaq
io ido: Ido
is isl ice: Icelandic
it ita: Italian
iu iku: Inuktitut
ja jpn: Japanese
jv jav: Javanese
ka kat geo: Georgian
kg kon: Kongo
ki kik: Kikuyu, Gikuyu
kj kua: Kuanyama, Kwanyama
kk kaz: Kazakh
kl kal: Kalaallisut, Greenlandic
km khm: Khmer, Central Khmer, Cambodian
kn kan: Kannada
ko kor: Korean
kr kau: Kanuri
ks kas: Kashmiri
ku kur: Kurdish
kv kom: Komi
kw cor: Cornish
ky kir: Kirghiz, Kyrgyz
la lat: Latin
lb ltz: Luxembourgish, Letzeburgesch
lg lug: Ganda
li lim: Limburgan, Limburgish, Limburger
ln lin: Lingala
lo lao: Lao
lt lit: Lithuanian
lu lub: Luba-Katanga
lv lav: Latvian
mg mlg: Malagasy
mh mah: Marshallese
mi mri mao: Maori, Māori
mk mkd mac: Macedonian
ml mal: Malayalam
mn mon: Mongolian
mr mar: Marathi
ms msa may: Malay
mt mlt: Maltese
my mya bur: Burmese, Myanmar
na nau: Nauru
nb nob: Norwegian Bokmål, Norwegian Bokmal, Bokmål, Bokmal
nd nde: North Ndebele
ne nep: Nepali
ng ndo: Ndonga
nl nld dut: Dutch, Flemish
nn nno: Norwegian Nynorsk, Nynorsk
no nor: Norwegian
nr nbl: South Ndebele
nv nav: Navajo, Navaho
ny nya: Chichewa, Nyanja, Chewa
oc oci: Occitan
oj oji: Ojibwa
om orm: Oromo
or ori: Oriya, Odia
os oss: Ossetian, Ossetic
pa pan: Panjabi, Punjabi
pi pli: Pali
pl pol: Polish
ps pus: Pushto, Pashto
pt por: Portuguese
qu que: Quechua
rm roh: Romansh
rn run: Rundi
ro ron rum: Romanian, Moldavian, Moldovan
ru rus: Russian
rw kin: Kinyarwanda
sa san: Sanskrit
sc srd: Sardinian
sd snd: Sindhi
se sme: Northern Sami
sg sag: Sango
si sin: Sinhala, Sinhalese
sk slk slo: Slovak
sl slv: Slovenian
sm smo: Samoan
sn sna: Shona
so som: Somali
sq sqi alb: Albanian
sr srp: Serbian, Serbo-Croatian
ss ssw: Swati
st sot: Southern Sotho, Sesotho
su sun: Sundanese
sv swe: Swedish
sw swa: Swahili
ta tam: Tamil
te tel: Telugu
tg tgk: Tajik
th tha: Thai
ti tir: Tigrinya, Tigrigna
tk tuk: Turkmen
tl tgl: Tagalog
tn tsn: Tswana
to ton: Tonga (Tonga Islands), Tongan
tr tur: Turkish
ts tso: Tsonga
tt tat: Tatar
tw twi: Twi
ty tah: Tahitian
ug uig: Uighur, Uyghur, Uygur
uk ukr: Ukrainian
ur urd: Urdu
uz uzb: Uzbek
ve ven: Venda
vi vie: Vietnamese
vo vol: Volapük
wa wln: Walloon
wo wol: Wolof
xh xho: Xhosa
yi yid: Yiddish
yo yor: Yoruba
za zha: Zhuang, Chuang
zh zho chi: Chinese, Mandarin, Mandarin Chinese
zu zul: Zulu
"""
# Codes that ISO has withdrawn, and the language that each stood for.
WITHDRAWN = {
    "adp": "dz",
    "aex": "en",
    "auv": "oc",
    "bqe": "eu",
    "bsz": "eu",
    "gsc": "oc",
    "hbs": "sr",
    "in": "id",
    "mo": "ro",
    "iw": "he",
    "jaw": "jv",
    "ji": "yi",
    "jw": "jv",
    "lms": "oc",
    "lnc": "oc",
    "mol": "ro",
    "occ": "ie",
    "prp": "gu",
    "prv": "oc",
    "scc": "sr",
    "scr": "hr",
    "sh": "sr",
    "yib": "en",
}
